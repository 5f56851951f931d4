"""The calls of OpenAI's API that its clients make to get embeddings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from preflight.wire import ErrorCode
from preflight.wire.indices import format_indices
from sidecar.api.bodies import read_json
from sidecar.api.errors import ApiError
from sidecar.api.native import JSON
from sidecar.api.schemas import parse_openai, parse_timeout
from sidecar.service import Loaded, Service

if TYPE_CHECKING:
    from sidecar.engines.base import ModelCard


class OpenAI:
    """Handlers over one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._created = int(time.time())

    async def models(self, _: web.Request) -> web.Response:
        """Answer with the one model that is served."""
        card = self._service.require_ready().card
        model = {
            "id": card.name,
            "object": "model",
            "created": self._created,
            "owned_by": card.model_id.rpartition("/")[0] or "local",
        }
        return web.Response(body=orjson.dumps({"object": "list", "data": [model]}), content_type=JSON)

    async def embeddings(self, request: web.Request) -> web.Response:
        """Answer with unit vectors, as numbers or as base64 of little-endian float32."""
        from sidecar.api import encoding  # numpy: importing it must not delay the first answer of /health

        service = self._service
        loaded = service.require_ready()
        timeout_s = parse_timeout(request.headers)
        wanted = parse_openai(await read_json(request, service.options.max_body_bytes), service.options.max_texts)
        _require_model(loaded, wanted.model)
        dim = _dimensions(loaded.card, wanted.dimensions)
        embedded = await service.embed(wanted.embed, timeout_s)
        vectors = embedded.vectors if dim == loaded.card.dim else encoding.shortened(embedded.vectors, dim)
        data = await encoding.openai_data(vectors, as_base64=wanted.encoding_format == "base64")
        usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
        rest = orjson.dumps({"model": loaded.card.name, "usage": usage})
        return web.Response(
            body=b'{"object":"list","data":' + data + b"," + rest[1:],
            content_type=JSON,
            headers={
                "X-Embedding-Fingerprint": loaded.card.fingerprint,
                "X-Embedding-Truncated": format_indices(embedded.truncated),
            },
        )


def _require_model(loaded: Loaded, name: str | None) -> None:
    """Raise ``ApiError`` unless ``name`` means the served model: another one's vectors are of another space."""
    if name is None or name in loaded.names:
        return
    raise ApiError(
        ErrorCode.MODEL_NOT_FOUND,
        f"model: wanted {loaded.card.name!r}, which is served here, found {name[:100]!a}.",
        hint="Name the served model; GET /v1/models lists it.",
        param="model",
        details={"wanted": sorted(loaded.names), "found": ascii(name[:100])},
    )


def _dimensions(card: ModelCard, wanted: int | None) -> int:
    """Return how many dimensions to answer with. Raises ``ApiError`` where the model cannot be cut to ``wanted``."""
    if wanted is None or wanted == card.dim:
        return card.dim
    if card.dimensions_allowed and wanted < card.dim:
        return wanted
    allowed = f"1 to {card.dim}" if card.dimensions_allowed else str(card.dim)
    why = "" if card.dimensions_allowed else f" {card.name} was not trained for shorter vectors."
    raise ApiError(
        ErrorCode.INVALID_REQUEST,
        f"dimensions: wanted {allowed}, found {wanted}.{why}",
        hint="Leave the field out.",
        param="dimensions",
        details={"wanted": allowed, "found": wanted},
    )
