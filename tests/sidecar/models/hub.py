"""A Hugging Face hub of one repository, on a local port: enough of its protocol for the real library to fetch from."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

COMMIT = "d" * 40


def range_start(handler: BaseHTTPRequestHandler) -> int:
    """First byte that is asked for; 0 without a range."""
    return int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])


@dataclass
class Hub:
    """Serves ``files`` as the repository ``name``; use as a context manager. ``broken``: files answered with 403."""

    name: str
    files: Mapping[str, bytes]
    broken: frozenset[str] = frozenset()
    #: What was asked for, as (method, path).
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: Bytes of files that went out.
    sent: int = 0

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fetched(self) -> set[str]:
        """Names of the files whose content was asked for."""
        return {path.partition("/resolve/main/")[2] for method, path in self.requests if method == "GET"} - {""}

    def listing(self) -> dict[str, Any]:
        siblings = [{"rfilename": name, "size": len(content)} for name, content in self.files.items()]
        return {"id": self.name, "sha": COMMIT, "siblings": siblings}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(with_body=True)

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def _answer(self, *, with_body: bool) -> None:
                path = self.path.partition("?")[0]
                hub.requests.append((self.command, path))
                hub.answer(self, path, with_body=with_body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler, path: str, *, with_body: bool) -> None:
        """Answer one request; part of the content where a range is asked for."""
        status, headers, body = self.respond(path)
        total, start = len(body), range_start(handler)
        if status == 200 and start:
            status, body = 206, body[start:]
            headers = {**headers, "Content-Range": f"bytes {start}-{total - 1}/{total}"}
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if with_body:
            self.sent += len(body) if "/resolve/" in path else 0
            handler.wfile.write(body)

    def respond(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path == f"/api/models/{self.name}/revision/main":
            return 200, {"Content-Type": "application/json"}, json.dumps(self.listing()).encode()
        repository, found, name = path.lstrip("/").partition("/resolve/main/")
        if found and repository == self.name and name in self.files:
            if name in self.broken:
                return 403, {}, b"not today"
            etag = hashlib.sha256(self.files[name]).hexdigest()
            return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, self.files[name]
        return 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""
