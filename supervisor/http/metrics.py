"""``/metrics`` of the public port: what the calls were, and how long they took."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from preflight.wire import prometheus
from preflight.wire.prometheus import Samples, labels_text

PREFIX = "embedding_supervisor_"

#: Upper bounds in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Requests:
    """Counts and durations of the calls on the public port, by route."""

    def __init__(self) -> None:
        self.under_way = 0
        self._answered: Counter[tuple[str, str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered call."""
        self._answered[route, method, status] += 1
        buckets = self._buckets.setdefault(route, [0] * (len(BUCKETS) + 1))
        buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter adds floats as well

    def lines(self) -> Iterable[str]:
        """Yield the lines of both families."""
        labelled = (({"route": r, "method": m, "status": str(s)}, n) for (r, m, s), n in sorted(self._answered.items()))
        yield from family("requests_total", "counter", "Answered calls.", labelled)
        name = f"{PREFIX}request_seconds"
        yield f"# HELP {name} Time from a call's arrival to its answer."
        yield f"# TYPE {name} histogram"
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
                total += count
                yield f"{name}_bucket{labels_text({'route': route, 'le': bound})} {total}"
            yield f"{name}_sum{labels_text({'route': route})} {self._seconds[route]!r}"
            yield f"{name}_count{labels_text({'route': route})} {total}"

    @property
    def middleware(self) -> Middleware:
        """Measures every call; the route's pattern stands for its path, so that no client can make up labels."""

        @web.middleware
        async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = time.perf_counter()
            self.under_way += 1
            status = 499  # the client left
            try:
                response = await handler(request)
                status = response.status
                return response
            finally:
                self.under_way -= 1
                resource = request.match_info.route.resource
                route = resource.canonical if resource is not None else "other"
                method = request.method if resource is not None else "other"
                self.observe(route, method, status, time.perf_counter() - began)

        return measure


def family(name: str, kind: str, text: str, samples: Samples) -> list[str]:
    """Return the lines of one of our families."""
    return prometheus.family(PREFIX + name, kind, text, samples)
