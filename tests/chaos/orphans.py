"""Whoever is killed, nothing stays behind: a tree that will not go is planted under the sidecar."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from itertools import cycle, islice

from supervisor.process.guard import NONCE
from tests.chaos.results import Result
from tests.chaos.scene import WITH_FAULTS, Scene, command_line, is_alive, kill, until_gone
from tests.integration.host import wait_until

HOST, SUPERVISOR, GUARD, SIDECAR = "host", "supervisor", "guard", "sidecar"

#: Part of the command line that tells each.
_TELLS = {SUPERVISOR: "-m tests.chaos.supervised run", GUARD: "guard.py", SIDECAR: "faulty.py"}

#: Pids that the tree has: one in the sidecar's group, one in a session of its own, one forked twice.
TREE = 3

#: Between the planting and the kill: some die while the model loads, some while it serves.
PAUSE_S = (0.0, 2.5)

DEADLINE_S = 10.0
DECOYS = 200


def supervisor_killed(rounds: int, seed: int) -> Result:
    """SIGKILL of the supervisor, alone and together with each other process but the guard."""
    return _killed("supervisor-killed", rounds, seed, [{SUPERVISOR}, {SUPERVISOR, HOST}, {SUPERVISOR, SIDECAR}], 250.0)


def host_killed(rounds: int, seed: int) -> Result:
    """SIGKILL of the host, alone and together with the guard or the sidecar."""
    return _killed("host-killed", rounds, seed, [{HOST}, {HOST, GUARD}, {HOST, SIDECAR}], 2000.0)


def guard_killed(rounds: int, seed: int) -> Result:
    """SIGKILL of the guard, alone and with the sidecar: the launch goes, the supervisor makes another."""
    return _killed("guard-killed", rounds, seed, [{GUARD}, {GUARD, SIDECAR}], 250.0)


def _killed(name: str, rounds: int, seed: int, victims: Sequence[set[str]], most_ms: float) -> Result:
    """``rounds``: kills, of each set of victims in turn. A supervisor and its host that were left alone live on."""
    result, dice = Result(name), random.Random(seed)
    survivors, times = 0, []
    for chosen in islice(cycle(victims), rounds):
        lives_on = {HOST, SUPERVISOR} if not chosen & {HOST, SUPERVISOR} else set()
        with Scene(_options(dice, alone=bool(lives_on)), WITH_FAULTS, has_host=True, plants=True) as scene:
            pids = planted(scene, dice)
            before = scene.marked() - {pids[who] for who in lives_on}
            for who in sorted(chosen, reverse=True):
                kill(pids[who])
            times.append(until_gone(list(before), DEADLINE_S))
            if lives_on:
                scene.host.wait_ready()
                left = {pid for pid in before if is_alive(pid)}
            else:
                left = scene.marked()
            survivors += len(left)
            result.notes += [f"{'+'.join(chosen)}: {pid} {command_line(pid)}" for pid in left]
    result.measure("kills", rounds, "")
    result.count("survivors", survivors, 0)
    result.times("until all are gone", times, p99=most_ms)
    return result


def swept(rounds: int, seed: int) -> Result:
    """SIGKILL of guard and supervisor together: the next start finds what is left, and nobody else."""
    result, dice = Result("swept"), random.Random(seed)
    survivors = left_behind = hurt = 0
    times = []
    with ExitStack() as stack:
        decoys = stack.enter_context(Decoys(dice))
        for _ in range(rounds):
            with Scene(_options(dice), WITH_FAULTS, has_host=True, plants=True) as scene:
                pids = planted(scene, dice)
                nonce = scene.nonce()
                decoys.take_after(nonce)
                before = scene.marked()
                for who in (GUARD, SUPERVISOR):
                    kill(pids[who])
                until_gone([pids[HOST], pids[GUARD], pids[SUPERVISOR], pids[SIDECAR]], DEADLINE_S)
                left_behind += sum(map(is_alive, before))
                began = time.monotonic()
                scene.start().wait_ready()
                times.append(time.monotonic() - began)
                left = {pid for pid in before if is_alive(pid)}
                survivors += len(left)
                result.notes += [f"{pid} {command_line(pid)}" for pid in left]
        hurt = decoys.hurt()
    result.measure("kills", rounds, "")
    result.measure("left behind", left_behind, "")
    result.count("survivors", survivors, 0)
    result.count("decoys killed", hurt, 0)
    result.times("next start", times)
    return result


def _options(dice: random.Random, *, alone: bool = False) -> tuple[str, ...]:
    """Every other time with a standby, whose tree must go as well; not where what is left of one launch is counted."""
    return ("--standby",) if not alone and dice.random() < 0.5 else ()


def planted(scene: Scene, dice: random.Random) -> dict[str, int]:
    """Wait for the whole tree and a random while longer; returns the pids by role, a standby's left out."""
    wait_until(lambda: scene.planted.exists() and len(scene.planted.read_text().split()) >= TREE, 60.0)
    time.sleep(dice.uniform(*PAUSE_S))
    return {HOST: scene.host.process.pid} | {role: _oldest(scene, part) for role, part in _TELLS.items()}


def _oldest(scene: Scene, part: str) -> int:
    """The first process whose arguments have ``part``; not the host, whose arguments name the supervisor as well."""
    found = sorted(pid for pid in scene.marked() if part in command_line(pid) and pid != scene.host.process.pid)
    guards = [pid for pid in found if "guard.py" in command_line(pid)]
    tree = {int(pid) for pid in scene.planted.read_text().split()}
    return (guards if "guard.py" in part else [pid for pid in found if pid not in {*guards, *tree}])[0]


class Decoys:
    """Processes that look like a launch's and are not."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Decoys:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a shell has a child
            process.wait()

    def take_after(self, nonce: str) -> None:
        """Have some that resemble the launch of ``nonce``; ``DECOYS`` in all, over several calls."""
        for environ, argument in islice(cycle(lookalikes(nonce)), min(10, DECOYS - len(self._processes))):
            command = ["sleep", "3600"] if not argument else ["sh", "-c", "sleep 3600; :", argument]
            environ = {"PATH": "/usr/bin:/bin", **environ}
            self._processes.append(subprocess.Popen(command, env=environ, start_new_session=True))

    def hurt(self) -> int:
        """How many do not live any more."""
        return sum(process.poll() is not None for process in self._processes)


def lookalikes(nonce: str) -> Iterable[tuple[dict[str, str], str]]:
    """Environments and arguments that a careless search would take for the launch's."""
    return (
        ({NONCE: nonce[:-1] + ("0" if nonce[-1] != "0" else "1")}, ""),
        ({NONCE: nonce + "0"}, ""),
        ({NONCE: nonce[:-1]}, ""),
        ({NONCE: ""}, ""),
        ({"X" + NONCE: nonce}, ""),
        ({NONCE.lower(): nonce}, ""),
        ({"NOTE": f"{NONCE}={nonce}"}, ""),
        ({}, f"{NONCE}={nonce}"),
        ({NONCE: nonce.upper() + "Z"}, "python -m sidecar"),
        ({}, "sidecar/__main__.py --host 127.0.0.1"),
    )
