"""The guard of one launch on POSIX: stands between supervisor and sidecar, and ends the sidecar's whole tree.

Run as ``python -I -S guard.py PARENT LIFELINE STATUS COMMAND...``, or by a bundle
as ``embedding-supervisor --guard PARENT LIFELINE STATUS COMMAND...``: a process
of its own, single-threaded, because the death signal asked for below follows the
thread that asked. It starts the sidecar in a session of its own and waits for
the first of:

- the sidecar's end: ends the rest of the tree, reports, exits;
- the lifeline's end of file: the supervisor, which alone holds the other end,
  is gone: ends the tree, exits;
- a byte on the lifeline: ``T`` asks the sidecar to end, ``D`` has it dump its
  stacks, ``K`` ends the tree. A signal from here can hit no recycled pid: the
  sidecar stays a zombie until this process reaps it.

STATUS gets lines: ``pid N``, then ``exit N`` or ``signal N``; or ``failed ERRNO``.

Constraint: standard library alone, nothing of ours (``-I`` hides the project),
and few imports: each millisecond here is one of every restart.
"""
# ruff: noqa: PTH123, PTH208, S606, SIM105
# (pathlib and contextlib are imports, and an exec is what this file is for)

from __future__ import annotations

import os
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn, Protocol

    class System(Protocol):
        """What the two kernels do differently."""

        def watch_parent(self, parent: int) -> int | None:
            """Ask to be woken by the parent's death; a descriptor to poll, where it comes that way."""

        def in_child(self) -> None:
            """In the forked child, before the exec."""

        def end_others(self) -> None:
            """Kill and reap whatever is left of the tree beside the sidecar's own group."""


PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

#: The first argument that makes a bundle's supervisor a guard.
ARGUMENT = "--guard"

#: The variable whose value marks every process of a launch.
NONCE = "SIDECAR_NONCE"


class Linux:
    """Death signals, and a subreaper: whoever loses a parent in the tree becomes our child."""

    def __init__(self) -> None:
        import ctypes

        self._prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl

    def watch_parent(self, parent: int) -> int | None:
        self._prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        return None

    def in_child(self) -> None:
        self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def end_others(self) -> None:
        while True:
            for pid in children(os.getpid()):
                kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


class Darwin:
    """No subreaper and no death signal: a kernel queue, and a search by the launch's mark."""

    def __init__(self, nonce: str, ps: Callable[[], str] | None = None, kernel: Any = select) -> None:
        self._nonce = nonce
        self._list_processes = ps or list_processes
        self._kernel = kernel
        self._queue: Any = None

    def watch_parent(self, parent: int) -> int | None:
        kernel = self._kernel
        flags = kernel.KQ_EV_ADD | kernel.KQ_EV_ONESHOT
        event = kernel.kevent(parent, kernel.KQ_FILTER_PROC, flags, kernel.KQ_NOTE_EXIT)
        self._queue = kernel.kqueue()  # closes its descriptor when collected
        try:
            self._queue.control([event], 0)
        except ProcessLookupError:
            return None  # already dead: the lifeline says so too
        return int(self._queue.fileno())

    def in_child(self) -> None:
        """Nothing can be asked for."""

    def end_others(self) -> None:
        import time

        for _ in range(100):
            found = [pid for pid in marked(self._list_processes(), self._nonce) if pid != os.getpid()]
            if not found:
                return
            for pid in found:
                kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def list_processes() -> str:
    """Every process of ours with its environment, as macOS prints it."""
    import subprocess

    return subprocess.run(
        ["/bin/ps", "-xwwE", "-o", "pid=,command="], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    ).stdout.decode("utf-8", "replace")


def marked(listing: str, nonce: str) -> list[int]:
    """Pids of a ``ps`` listing whose environment carries the nonce."""
    mark = f"{NONCE}={nonce}"
    return [int(line.split(None, 1)[0]) for line in listing.splitlines() if mark in line.split()]


def main(argv: Sequence[str]) -> int:
    """Guard one launch; returns the exit status of the guard itself."""
    parent, lifeline, status = (int(argument) for argument in argv[1:4])
    for fd in (lifeline, status):
        os.set_inheritable(fd, False)
    wake = wake_on_signals()
    system: System = Linux() if sys.platform == "linux" else Darwin(os.environ.get(NONCE, ""))
    parent_fd = system.watch_parent(parent)
    if os.getppid() != parent:  # it died before we could ask
        return 1
    sidecar = start(argv[4:], system, status)
    if sidecar is None:
        return 1
    let_go_of_output()
    wait_for_an_end(sidecar, parent, [fd for fd in (lifeline, wake, parent_fd) if fd is not None], lifeline, wake)
    report(status, end_tree(sidecar, system))
    return 0


def wake_on_signals() -> int:
    """Return a descriptor that becomes readable with every signal we care for."""
    reader, writer = os.pipe()
    for fd in (reader, writer):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return reader


def start(command: Sequence[str], system: System, status: int) -> int | None:
    """Fork and execute ``command``; None when that failed, which is reported."""
    reader, writer = os.pipe()
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        become(command, system, guard, writer)
    os.close(writer)
    failure = os.read(reader, 16)
    os.close(reader)
    if failure:
        os.waitpid(child, 0)
        report(status, "failed " + failure.decode())
        return None
    report(status, f"pid {child}")
    return child


def become(command: Sequence[str], system: System, guard: int, failed: int) -> NoReturn:
    """In the child: a session of its own, death with the guard, then the sidecar."""
    try:
        os.setsid()
        system.in_child()
        # Ignored signals stay ignored across an exec; handlers do not.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if os.getppid() == guard:
            os.execv(command[0], list(command))
    except OSError as error:
        os.write(failed, str(error.errno).encode())
    finally:
        os._exit(127)


def let_go_of_output() -> None:
    """The sidecar's pipes end with the sidecar, not with us."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)


def wait_for_an_end(sidecar: int, parent: int, watched: Sequence[int], lifeline: int, wake: int) -> None:
    """Return when the tree must end: the sidecar did, the parent did, or so it was ordered."""
    poll = select.poll()
    for fd in watched:
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if lifeline in ready and not obey(os.read(lifeline, 64), sidecar):
            return
        if wake in ready and signal.SIGTERM in os.read(wake, 512) and os.getppid() == parent:
            kill(sidecar, signal.SIGTERM)
        if os.getppid() != parent or reap_others(sidecar):
            return


def obey(orders: bytes, sidecar: int) -> bool:
    """Carry out orders; False when the tree must end."""
    if not orders or b"K" in orders:
        return False
    if b"D" in orders and catches(sidecar, signal.SIGUSR1):
        kill(sidecar, signal.SIGUSR1)
    if b"T" in orders:
        kill(sidecar, signal.SIGTERM)
    return True


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone, or may have become another user's."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def catches(pid: int, number: int) -> bool:
    """Whether ``pid`` has a handler for a signal that would end it otherwise; False where that cannot be told."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
            mask = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(int(mask, 16) >> (number - 1) & 1)


def reap_others(sidecar: int) -> bool:
    """Reap adopted children that ended; True when the sidecar itself did, which stays unreaped."""
    while True:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return False
        if ended.si_pid == sidecar:
            return True
        os.waitpid(ended.si_pid, 0)


def end_tree(sidecar: int, system: System) -> str:
    """Kill and reap until nothing is left; return how the sidecar ended."""
    try:
        os.killpg(sidecar, signal.SIGKILL)  # first, while the unreaped leader keeps its number taken
    except (ProcessLookupError, PermissionError):
        kill(sidecar, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(sidecar, 0)[1])
    system.end_others()
    return f"exit {code}" if code >= 0 else f"signal {-code}"


def children(parent: int) -> list[int]:
    """Pids of ``parent``'s children; from a scan where the kernel keeps no list."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as listed:
            return [int(pid) for pid in listed.read().split()]
    except OSError:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and parent_of(int(name)) == parent]


def parent_of(pid: int) -> int:
    """Pid of the parent; 0 when ``pid`` is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def report(status: int, line: str) -> None:
    """Tell the supervisor, if it is still there."""
    try:
        os.write(status, line.encode() + b"\n")
    except OSError:
        pass


if __name__ == "__main__":
    os._exit(main(sys.argv))  # the supervisor waits for our end: nothing is buffered, nothing needs taking down
