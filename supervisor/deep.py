"""``doctor --deep``: load every package, start the sidecar, embed one text, and say how long that took.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import IO, Any

from preflight import discovery, gate
from preflight.model import Finding, Status
from preflight.wire import ErrorCode, EventType
from preflight.wire import environment as env
from supervisor import interpreter
from supervisor.config import Settings
from supervisor.fixing import IMPORTS_CHECK
from supervisor.interpreter import Choice
from supervisor.launch import sidecar_plan
from supervisor.programs import OURS
from supervisor.progress import LineParser, WireEvent

VECTOR_CHECK = "deep.vector"

_SCRIPT = OURS.root / "supervisor" / "provision" / "import_check.py"

#: Longest that loading all packages, and starting with a model on disk, may take.
_IMPORT_LIMIT_S = 120.0
_START_LIMIT_S = 120.0

_TEXT = "The doctor embeds this sentence."


def interpreters(others: discovery.Survey) -> Finding:
    """Name the interpreters that an environment could be made with, the best first; never an error by itself."""
    listed = ", ".join(f"{gate.dotted(found.version)} ({found.path})" for found in others.usable)
    message = f"Environments can be made with Python {listed}." if listed else "No other interpreter would do."
    return Finding("python.others", Status.OK, None, gate.WANTED, listed or "none", message)


def findings(settings: Settings, choice: Choice) -> Iterator[Finding]:
    """Yield what trying it out shows. Nothing is tried where the environment is known to be broken."""
    if not choice.is_complete:
        yield Finding(IMPORTS_CHECK, Status.SKIPPED, None, "", "", "The environment has to be repaired first.")
        return
    imports = _imports(settings, choice)
    yield imports
    if imports.status is Status.OK:
        yield _vector(settings, choice)


def _imports(settings: Settings, choice: Choice) -> Finding:
    if OURS.is_bundled and choice.candidate.venv is None:
        return Finding(IMPORTS_CHECK, Status.OK, None, "", "", "The packages are parts of the bundle.")
    modules = [dependency.module for dependency in interpreter.contents(settings).needed]
    command = [str(choice.python), "-I", str(_SCRIPT), *modules]
    environ = env.scrubbed(os.environ, frozen=OURS.is_bundled)
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=environ, timeout=_IMPORT_LIMIT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        return _failed_import("packages", str(error))
    if done.returncode == 0:
        took = time.perf_counter() - started
        return Finding(IMPORTS_CHECK, Status.OK, None, "", "", f"All {len(modules)} packages load ({took:.1f} s).")
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    line = next((line for line in lines if line.startswith("failed ")), f"failed packages status {done.returncode}")
    _, module, why = (*line.split(" ", 2), "")[:3]
    return _failed_import(module, why)


def _failed_import(module: str, why: str) -> Finding:
    return Finding(
        id=IMPORTS_CHECK,
        status=Status.ERROR,
        code=ErrorCode.PYTHON_DEPS_MISSING,
        wanted=f"{module} loads",
        found=why,
        message=f"The package {module} is installed and does not load: {why}",
        hint="If it names a library such as libgomp.so.1, install that with your system's package manager; "
        "else rebuild the environment: python3 -m supervisor doctor --fix",
        fixable=True,
    )


def _vector(settings: Settings, choice: Choice) -> Finding:
    started = time.perf_counter()
    try:
        with _Trial(settings, choice) as trial:
            ready = trial.wait()
            started_in = time.perf_counter() - started
            vector, took = trial.embed()
    except (_TrialError, OSError, ValueError, KeyError) as error:
        failure = error if isinstance(error, _TrialError) else _TrialError(ErrorCode.SIDECAR_NOT_HEALTHY, str(error))
        return Finding(
            id=VECTOR_CHECK,
            status=Status.ERROR,
            code=failure.code,
            wanted="one vector",
            found=str(failure),
            message=f"The sidecar made no vector: {failure}",
            hint=failure.hint or "The log of 'run' says more.",
        )
    message = f"One text became {len(vector)} numbers in {took * 1000:.0f} ms, {started_in:.1f} s after the start"
    return Finding(VECTOR_CHECK, Status.OK, None, "one vector", f"{len(vector)} numbers", f"{message} ({ready}).")


def _sidecar(choice: Choice) -> tuple[str, ...]:
    """The sidecar's command; unlike ``run``, this process does not run in the environment itself."""
    program = OURS.sidecar(choice.candidate.venv)
    return program if OURS.is_bundled else (str(choice.python), *program[1:])


class _TrialError(Exception):
    def __init__(self, code: ErrorCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class _Trial:
    """A sidecar of our own, on any port, for one text. It ends with its standard input."""

    def __init__(self, settings: Settings, choice: Choice) -> None:
        plan = sidecar_plan(
            _sidecar(choice),
            model=settings.model,
            engine=settings.engine,
            precision=settings.precision,
            threads=settings.threads or 1,
            offline=settings.offline,
            base=os.environ,
            frozen=OURS.is_bundled,
            remote=settings.remote,
        )
        self._process = subprocess.Popen(
            [plan.python, *plan.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**plan.environ, env.LIFELINE: "1"},
        )
        self._port = 0
        self._events: queue.Queue[WireEvent | None] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> _Trial:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> str:
        """Return engine and precision once it can embed. Raises ``_TrialError``."""
        deadline = time.monotonic() + _START_LIMIT_S
        engine = ""
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if event is None:
                raise _TrialError(ErrorCode.SIDECAR_START_FAILED, "it ended before it was ready")
            data = event.data
            if event.type is EventType.ERROR:
                raise _TrialError(ErrorCode(data["code"]), str(data["message"]), str(data["hint"]))
            if event.type is EventType.HELLO:
                self._port = data["port"]
            if event.type is EventType.MODEL_LOADED:
                engine = f"{data['engine']}, {data['precision']}"
            if event.type is EventType.WARMED_UP:
                return engine
        raise _TrialError(ErrorCode.STARTUP_TIMEOUT, f"it was not ready within {_START_LIMIT_S:.0f} s")

    def embed(self) -> tuple[list[float], float]:
        """Return the vector of one text, and the seconds that took."""
        body = json.dumps({"texts": [_TEXT]}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/embed", body, {"Content-Type": "application/json"}
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        started = time.perf_counter()
        with direct.open(request, timeout=30) as answer:
            vectors: Any = json.load(answer)["vectors"]
        return vectors[0], time.perf_counter() - started

    def _read(self, stream: IO[bytes]) -> None:
        parser = LineParser()
        with stream:
            while data := os.read(stream.fileno(), 65536):
                self._put(parser.feed(data))
            self._put(parser.close())
        self._events.put(None)

    def _put(self, items: Any) -> None:
        for item in items:
            if isinstance(item, WireEvent):
                self._events.put(item)
