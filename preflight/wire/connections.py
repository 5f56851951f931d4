"""How many connections a port keeps, and who makes room: a local port is reachable by every program on the machine."""

from __future__ import annotations

import sys
from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Closable(Protocol):
        """A connection."""

        def force_close(self) -> None:
            """Close it at once."""


#: Connections kept at once, where the system allows as many descriptors.
MAX_CONNECTIONS = 512


class Idle:
    """The connections that carry no request, the longest idle first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._idle: OrderedDict[Closable, None] = OrderedDict()

    def add(self, connection: Closable) -> None:
        """Note that ``connection`` waits for a request."""
        self._idle[connection] = None

    def remove(self, connection: Closable) -> None:
        """Note that ``connection`` is busy, or gone."""
        self._idle.pop(connection, None)

    def make_room(self, connections: int) -> bool:
        """Close the longest idle when ``connections`` are at the limit; False when all are busy."""
        if connections < self.limit:
            return True
        if not self._idle:
            return False
        oldest, _ = self._idle.popitem(last=False)
        oldest.force_close()
        return True


def connection_limit() -> int:
    """Half of the descriptors we may have, and no more than ``MAX_CONNECTIONS``; a desktop session on macOS has 256."""
    if sys.platform == "win32":
        return MAX_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, soft // 2))
