"""The server that applications write for themselves: FastAPI around an encoder.

Runs in the peers' environment, which has nothing of ours: run as a file, it
imports only what stands beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from encoders import ENCODERS, Encoder


def serve(encoder: Encoder, port: int) -> None:
    """Answer ``POST /embed`` with ``{"vectors": [...]}`` until killed."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Request(BaseModel):
        texts: list[str]

    app = FastAPI()

    def embed(request: Request) -> dict[str, list[list[float]]]:
        return {"vectors": encoder(request.texts).tolist()}

    # The class above is local, and FastAPI resolves names written as text among globals only.
    embed.__annotations__ = {"request": Request, "return": dict[str, list[list[float]]]}
    app.post("/embed")(embed)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def pipe(encoder: Encoder) -> None:
    """Embed a JSON list of texts a line, and answer each with an empty line: the library alone, without HTTP."""
    for line in sys.stdin:
        encoder(json.loads(line))
        print(flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Load the encoder and serve it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--encoder", choices=ENCODERS, default="sentence-transformers")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--port", type=int, help="without it: texts on standard input")
    options = parser.parse_args(argv)
    encoder = ENCODERS[options.encoder](options.folder, options.batch)
    encoder(["warm"] * options.batch)
    if options.port is None:
        print(flush=True)
        pipe(encoder)
    else:
        serve(encoder, options.port)


if __name__ == "__main__":
    main()
