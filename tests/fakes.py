"""A small sidecar: a real process in plain Python that speaks PROGRESS and answers /health.

``python -I -S fakes.py ACTION...`` carries out its actions in order; the tests
name what it does wrong. ``command`` builds such a command line.

    hello[:PORT]  cached  loaded  warm  serve     the usual start (``START``)
    error:CODE  exit:N  kill:SIGNAL  sleep:S      ends and delays
    text:T  half  garbage  flood:BYTES  stderr:T  noise (for ever)
    status:S  foreign  stuck  deaf                how /health answers from now on
    ignore-term  stacks  lifeline  tree:FILE      manners; FILE gets the tree's pids
    child:FILE                                    one child, on any platform; FILE gets its pid
    times:N:FILE:ACTION                           in the first N launches only; FILE counts

While it serves, ``GET /do?ACTION`` carries out one more; ``POST /embed`` echoes.

Constraint: standard library alone, few imports: it is started hundreds of times.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time

START = ("hello", "cached", "loaded", "warm", "serve")

MODEL = {
    "model": "fake/model",
    "dimensions": 4,
    "engine": "fake",
    "device": "cpu",
    "precision": "f32",
    "fingerprint": "f0",
    "load_ms": 1,
}


def command(*actions: str) -> tuple[str, ...]:
    """The command line of a fake that carries out ``actions``."""
    return (sys.executable, "-I", "-S", os.path.abspath(__file__), *actions)  # noqa: PTH100 pathlib is an import


class Fake:
    """The process itself."""

    def __init__(self) -> None:
        self.nonce = os.environ.get("SIDECAR_NONCE", "")
        self.health = {"status": "ok", "nonce": self.nonce, "model_loaded": True}
        self.work = {"done": 0, "queued": 0, "running_tokens": None, "running_age_s": None, "tokens_per_s": 1000.0}
        self.listener = socket.create_server(("127.0.0.1", 0))

    def run(self, action: str) -> None:
        name, _, argument = action.partition(":")
        getattr(self, "do_" + name.replace("-", "_"))(argument)

    # --- the usual start

    def do_hello(self, port: str) -> None:
        number = int(port or self.listener.getsockname()[1])
        progress("hello", wire=1, pid=os.getpid(), nonce=self.nonce, version="0", port=number)

    def do_cached(self, _: str) -> None:
        progress("model_cached", model="fake/model", path="/nowhere")

    def do_loaded(self, _: str) -> None:
        progress("model_loaded", **MODEL)

    def do_warm(self, _: str) -> None:
        progress("warmed_up", ms=1)

    def do_serve(self, _: str) -> None:
        while True:
            connection, _address = self.listener.accept()
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    # --- ends and delays

    def do_error(self, code: str) -> None:
        progress("error", code=code, message="it cannot work", hint="mend it", details={"path": "/nowhere"})

    def do_exit(self, status: str) -> None:
        sys.stdout.flush()
        os._exit(int(status))

    def do_kill(self, name: str) -> None:
        os.kill(os.getpid(), getattr(signal, name))

    def do_sleep(self, seconds: str) -> None:
        time.sleep(float(seconds))

    def do_times(self, argument: str) -> None:
        most, path, action = argument.split(":", 2)
        with open(path, "a+", encoding="ascii") as file:  # noqa: PTH123 pathlib is an import
            file.write("x")
            count = file.tell()
        if count <= int(most):
            self.run(action)

    # --- output

    def do_text(self, text: str) -> None:
        write(text.encode() + b"\n")

    def do_stderr(self, text: str) -> None:
        os.write(2, text.encode() + b"\n")

    def do_half(self, _: str) -> None:
        write(b'PROGRESS:{"type":"hello","data":{"wi')

    def do_garbage(self, _: str) -> None:
        write(b'\x00\xff\xfe\n\r\nPROGRESS:\nPROGRESS:[1]\nPROGRESS:{"type":"later","data":{}}\n' + b"[" * 5000 + b"\n")

    def do_flood(self, size: str) -> None:
        for _ in range(int(size) // 65536):
            write(b"x" * 65536)
        write(b"\n")

    def do_noise(self, _: str) -> None:
        def make() -> None:
            while True:
                write(b"y" * 80 + b"\n")

        threading.Thread(target=make, daemon=True).start()

    # --- health

    def do_status(self, status: str) -> None:
        self.health["status"] = status

    def do_foreign(self, _: str) -> None:
        self.health["nonce"] = "someone else's"

    def do_stuck(self, _: str) -> None:
        self.work.update(queued=1, running_tokens=10, running_age_s=1.0)

    def do_deaf(self, _: str) -> None:
        self.health = {}

    # --- manners

    def do_ignore_term(self, _: str) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def do_stacks(self, _: str) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: os.write(2, b"Current thread: here it stands\n") and None)

    def do_lifeline(self, _: str) -> None:
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()

    def do_child(self, path: str) -> None:
        import subprocess

        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], stdin=subprocess.DEVNULL)
        with open(path, "a", encoding="ascii") as file:  # noqa: PTH123 pathlib is an import
            file.write(f"{child.pid}\n")

    def do_tree(self, path: str) -> None:
        """A child in the group, one with a session of its own, and a daemon forked twice; all ignore SIGTERM."""
        pids = [fork(lambda: None), fork(os.setsid), daemon()]
        with open(path, "a", encoding="ascii") as file:  # noqa: PTH123 pathlib is an import
            file.write("".join(f"{pid}\n" for pid in pids))

    # --- HTTP

    def answer(self, connection: socket.socket) -> None:
        with connection:
            while (data := connection.recv(65536)) and self.health:
                head, _, body = data.partition(b"\r\n\r\n")
                length = next((int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")), 0)
                while len(body) < length:
                    body += connection.recv(65536)
                path = head.split(b" ", 2)[1].decode()
                if path.startswith("/do?"):
                    self.run(path[4:])
                connection.sendall(self.response(path, body))

    def response(self, path: str, body: bytes) -> bytes:
        content = body if path == "/embed" else json.dumps({**self.health, "work": self.work}).encode()
        if path == "/embed":
            self.work["done"] = (self.work["done"] or 0) + 1
        ok = path != "/health" or self.health.get("status") == "ok"
        status = "200 OK" if ok else "503 Service Unavailable"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        return f"{head}X-Sidecar-Nonce: {self.nonce}\r\n\r\n".encode() + content


def progress(type_: str, **data: object) -> None:
    write(b"PROGRESS:" + json.dumps({"type": type_, "data": data}).encode() + b"\n")


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def fork(setup: object) -> int:
    """A child that ignores SIGTERM and sleeps for ever."""
    pid = os.fork()
    if pid == 0:
        setup()  # type: ignore[operator]
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(3600)
    return pid


def daemon() -> int:
    """A grandchild whose parent is gone, in a session of its own."""
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        os.write(writer, str(fork(os.setsid)).encode())
        os._exit(0)
    os.waitpid(middle, 0)
    pid = int(os.read(reader, 32))
    os.close(reader)
    os.close(writer)
    return pid


if __name__ == "__main__":
    fake = Fake()
    for one in sys.argv[1:]:
        fake.run(one)
