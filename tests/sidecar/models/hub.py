"""A Hugging Face hub of one repository, on a local port: enough of its protocol for the real library to fetch from."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

COMMIT = "d" * 40


@dataclass
class Hub:
    """Serves ``files`` as the repository ``name``; use as a context manager. ``broken``: files answered with 403."""

    name: str
    files: Mapping[str, bytes]
    broken: frozenset[str] = frozenset()
    #: What was asked for, as (method, path).
    requests: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Hub:
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
                status, headers, body = hub.respond(path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler

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
