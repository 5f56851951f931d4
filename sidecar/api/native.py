"""The sidecar's own calls: health, info, embed."""

from __future__ import annotations

import orjson
from aiohttp import hdrs, web

from preflight.wire.http import OCTET_STREAM
from preflight.wire.indices import format_indices
from sidecar.api.bodies import read_json
from sidecar.api.errors import RETRY_AFTER_S
from sidecar.api.schemas import parse_embed, parse_timeout
from sidecar.service import Service

JSON = "application/json"


class Native:
    """Handlers over one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def health(self, _: web.Request) -> web.Response:
        """Answer from what is known; never waits."""
        body = self._service.health()
        is_ok = body["status"] == "ok"
        headers = {hdrs.CACHE_CONTROL: "no-store"} | ({} if is_ok else {hdrs.RETRY_AFTER: f"{RETRY_AFTER_S:.0f}"})
        return web.Response(body=orjson.dumps(body), status=200 if is_ok else 503, content_type=JSON, headers=headers)

    async def info(self, _: web.Request) -> web.Response:
        """Answer with what is known of the model, and the limits."""
        return web.Response(body=orjson.dumps(self._service.info()), content_type=JSON)

    async def embed(self, request: web.Request) -> web.Response:
        """Answer with vectors, as JSON or, where asked for, as raw float32."""
        from sidecar.api import encoding  # numpy: importing it must not delay the first answer of /health

        service = self._service
        card = service.require_ready().card
        timeout_s = parse_timeout(request.headers)
        wanted = parse_embed(await read_json(request, service.options.max_body_bytes), service.options.max_texts)
        embedded = await service.embed(wanted, timeout_s)
        if _accepts_raw(request):
            count, dim = embedded.vectors.shape
            headers = {
                "X-Embedding-Shape": f"{count},{dim}",
                "X-Embedding-Fingerprint": card.fingerprint,
                "X-Embedding-Tokens": str(embedded.tokens),
                "X-Embedding-Truncated": format_indices(embedded.truncated),
            }
            return web.Response(body=encoding.raw(embedded.vectors), content_type=OCTET_STREAM, headers=headers)
        rest = {
            "model": card.name,
            "dim": card.dim,
            "fingerprint": card.fingerprint,
            "usage": {"tokens": embedded.tokens},
            "truncated": list(embedded.truncated),
        }
        return web.Response(body=await encoding.json_object(embedded.vectors, rest), content_type=JSON)


def _accepts_raw(request: web.Request) -> bool:
    """Tell whether the caller names raw rows among what it accepts; ``*/*`` is JSON."""
    for accepted in request.headers.getall(hdrs.ACCEPT, ()):
        for part in accepted.split(","):
            media, *parameters = (piece.strip().lower() for piece in part.split(";"))
            if media == OCTET_STREAM and "q=0" not in parameters:
                return True
    return False
