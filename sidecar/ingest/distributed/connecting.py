"""From the options of a run to workers that embed for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from sidecar.ingest.distributed.cluster import Cluster
from sidecar.ingest.distributed.dispatch import Engines
from sidecar.options import Options

#: A node may have to download its model first.
_START_S = 1800.0


@dataclass(frozen=True, slots=True)
class Distribution:
    """Where the workers are."""

    #: ``local``, or a cluster as Ray names it: ``ray://HOST:10001``, ``HOST:6379``, ``auto``.
    address: str
    #: Workers of a node.
    workers: int = 1
    #: Threads of a worker; None: the node's cores, shared out.
    threads: int | None = None


class Spread(NamedTuple):
    """Workers that embed."""

    engines: Engines
    #: For people.
    where: str
    close: Callable[[], Awaitable[None]]


async def spread(distribution: Distribution, options: Options) -> Spread:
    """Start workers on every node and wait for the first. Raises ``IngestError``, ``DependencyMissing``."""
    cluster = Cluster(distribution.address)  # in this thread, see there
    try:
        handles = cluster.spawn(options, workers=distribution.workers, threads=distribution.threads)
        engines = Engines(handles)
    except BaseException:
        cluster.close()
        raise

    async def close() -> None:
        await engines.close()
        cluster.close()

    try:
        await engines.start(_START_S)
    except BaseException:
        await close()
        raise
    where = f"{len(handles)} workers on {cluster.nodes} nodes of the Ray cluster {distribution.address}"
    return Spread(engines, where, close)
