"""Ray: connect to a cluster or start one here, and make an actor of a worker on each node.

Ray is imported by ``require`` alone: it is an extra, and slow to import.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from preflight.wire import cpus
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.distributed.answers import Described, hear_answer, hear_described
from sidecar.ingest.distributed.dispatch import Gone
from sidecar.ingest.distributed.worker import Worker
from sidecar.ingest.embedders import Answer, InputType
from sidecar.options import Options
from sidecar.stores.optional import require

EXTRA = "distributed"

#: The address that means a cluster of this machine alone, made for this run.
LOCAL = "local"

_ROOT = Path(__file__).resolve().parents[3]

#: Vectors of a request are a few hundred kilobytes, and few requests are under way.
_OBJECT_STORE_BYTES = 256 << 20

_REACH_S = 10.0

#: Read by Ray when it is imported: nothing is sent home, and no warning of a change to come.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class RayHandle:
    """``dispatch.Handle`` of an actor."""

    def __init__(self, ray: Any, actor: Any, name: str) -> None:
        self._ray = ray
        self._actor = actor
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def start(self) -> Described:
        return hear_described(await self._call(self._actor.start))

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        return hear_answer(await self._call(self._actor.embed, list(texts), input_type))

    def kill(self) -> None:
        """End the actor; Ray does not start it again."""
        self._ray.kill(self._actor, no_restart=True)

    async def _call(self, method: Any, *arguments: object) -> Any:
        errors = self._ray.exceptions
        try:
            return await method.remote(*arguments)
        except errors.RayTaskError:
            raise  # the worker lives: this is a fault of ours
        except errors.RuntimeEnvSetupError as error:
            raise _unreachable(f"node of {self._name}", error) from error
        except errors.RayError as error:
            raise Gone((str(error).strip().splitlines() or [type(error).__name__])[0]) from error


class Cluster:
    """A connection to Ray and the workers on it."""

    def __init__(self, address: str) -> None:
        """Connect. Raises ``IngestError``, ``DependencyMissing``.

        Call it in a thread that stays: the kernel ends the processes of a cluster
        of our own together with the thread that started them.
        """
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self._ray = require("ray", EXTRA)
        _reach(address)
        self._is_local = address == LOCAL
        self._handles: list[RayHandle] = []
        try:
            self._ray.init(**(_alone() if self._is_local else _elsewhere(address)))
        except (OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise _unreachable(f"a Ray cluster at {address}", error) from error

    def spawn(self, options: Options, *, workers: int, threads: int | None) -> list[RayHandle]:
        """Start ``workers`` workers on each node, with ``threads`` each or the node's cores shared out.

        Raises ``IngestError`` for a cluster that has no node to work on.
        """
        strategies = require("ray.util.scheduling_strategies", EXTRA)
        nodes = self._nodes()
        if not nodes:
            raise _unreachable("nodes with a core or more", LookupError("a cluster without any"))
        for node in nodes:
            each = threads or max(1, int(node["Resources"]["CPU"]) // workers)
            # Soft: should the node be lost, Ray starts the worker elsewhere, if there is room.
            placed = strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
            actor = self._ray.remote(Worker).options(
                num_cpus=each, max_restarts=-1, max_task_retries=0, scheduling_strategy=placed
            )
            for number in range(workers):
                made = actor.remote(replace(options, threads=each))
                self._handles.append(RayHandle(self._ray, made, f"{node['NodeManagerAddress']}/{number}"))
        return self._handles

    @property
    def nodes(self) -> int:
        """Number of nodes with cores."""
        return len(self._nodes())

    def close(self) -> None:
        """End the workers, and the cluster if it is ours."""
        for handle in self._handles:
            handle.kill()
        self._handles = []
        self._ray.shutdown()

    def _nodes(self) -> list[Mapping[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _reach(address: str) -> None:
    """Raise ``IngestError`` for an address where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(f"a Ray cluster at {address}", error) from error


def _alone() -> dict[str, Any]:
    return {
        "address": "local",
        "num_cpus": cpus.usable_cores(),
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
        **_common({"env_vars": {"PYTHONPATH": str(_ROOT)}}),
    }


def _elsewhere(address: str) -> dict[str, Any]:
    """The nodes have our packages' dependencies; our packages travel with the run, so all nodes run the same."""
    return {"address": address, **_common({"py_modules": [str(_ROOT / "preflight"), str(_ROOT / "sidecar")]})}


def _common(runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    return {"runtime_env": dict(runtime_env), "log_to_driver": False, "logging_level": "ERROR"}


def _unreachable(wanted: str, error: Exception) -> IngestError:
    return IngestError(
        IngestCode.EMBEDDER_UNREACHABLE,
        f"Wanted {wanted}, found: {(str(error).strip().splitlines() or [type(error).__name__])[0]}",
        hint="Check the address with: ray status --address ADDRESS. The nodes need the same minor version of Python.",
    )
