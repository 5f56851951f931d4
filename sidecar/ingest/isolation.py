"""Read files in a process of its own: one that hangs, crashes or eats memory takes nothing else with it.

The helper reads JSON lines on standard input, ``{"path", "format", "encoding"}``,
and answers each with lines ``{"section"}`` and a last one, ``{"end"}`` or
``{"error"}``. It ends with its standard input, so it never outlives us.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from preflight.wire import ErrorCode
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.files import unreadable
from sidecar.ingest.readers import Format, ReadOptions, Section, read
from sidecar.ingest.readers.base import damaged
from sidecar.stores.codes import CodedError, DependencyMissing

#: Formats whose readers work through structures that a hostile or damaged file controls.
ISOLATED = frozenset({Format.PDF, Format.HTML})

#: A reader that says nothing for so long is stuck.
SILENCE_S = 60.0

#: Address space of the helper, where the system can bound it.
_MEMORY_BYTES = 4 << 30

#: The first argument that makes a bundle's sidecar the helper.
ARGUMENT = "--read-files"

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from sidecar.ingest.isolation import serve; serve()"


class ReaderProcess:
    """A helper process that reads, started with the first file and anew after one that ended it. One thread's."""

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self._silence_s = silence_s
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: Path, format_: Format, options: ReadOptions) -> Iterator[Section]:
        """Yield the sections of ``path``. Raises ``IngestError``, ``DependencyMissing``."""
        process = self._process = self._process or _start()
        assert process.stdin is not None
        request = {"path": str(path), "format": format_.value, "encoding": options.encoding}
        with contextlib.suppress(OSError):  # ended meanwhile: the answer says so
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        is_done = False
        try:
            while not is_done:
                answer = self._answer(process, path)
                if "section" in answer:
                    yield Section(**answer["section"])
                elif "error" in answer:
                    is_done = True
                    raise _error(path, answer["error"])
                else:
                    is_done = True
        finally:
            if not is_done:  # what it still has to say is of no use
                self.close()

    def close(self) -> None:
        """End the helper."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()

    def _answer(self, process: subprocess.Popen[bytes], path: Path) -> dict[str, Any]:
        assert process.stdout is not None
        stuck = threading.Event()

        def end() -> None:
            stuck.set()
            process.kill()

        timer = threading.Timer(self._silence_s, end)
        timer.daemon = True
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        raise _stuck(path, self._silence_s) if stuck.is_set() else _crashed(path, process)


def _command() -> list[str]:
    """What starts the helper; a bundle has no interpreter, and its executable takes our argument instead."""
    if getattr(sys, "frozen", False):
        return [sys.executable, ARGUMENT]
    return [sys.executable, "-c", _PROGRAM, str(_ROOT)]


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        _command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _stuck(path: Path, silence_s: float) -> IngestError:
    return IngestError(
        IngestCode.SOURCE_READ_TIMEOUT,
        f"{path.name}: wanted its text within {silence_s:.0f} s, found none.",
        hint="Leave the file out.",
        details={"path": str(path)},
    )


def _crashed(path: Path, process: subprocess.Popen[bytes]) -> IngestError:
    status = process.wait()
    return IngestError(
        IngestCode.SOURCE_READER_CRASHED,
        f"{path.name}: the process that read it ended with status {status}.",
        hint="Leave the file out.",
        details={"path": str(path), "status": status},
    )


def _error(path: Path, error: dict[str, Any]) -> CodedError:
    if error["code"] == ErrorCode.PYTHON_DEPS_MISSING.value:
        return DependencyMissing(error["details"]["missing"][0], error["details"]["extra"])
    code = IngestCode(error["code"])
    return IngestError(code, error["message"], hint=error["hint"], details={**error["details"], "path": str(path)})


def serve() -> None:
    """Be the helper: answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _bound_memory()
    for line in sys.stdin.buffer:
        _serve(json.loads(line), answers)


def _serve(request: dict[str, Any], answers: BinaryIO) -> None:
    path = Path(request["path"])
    try:
        for section in read(path, Format(request["format"]), ReadOptions(encoding=request["encoding"])):
            content = {"text": section.text, "metadata": dict(section.metadata), "key": section.key}
            _answer(answers, {"section": content})
        _answer(answers, {"end": True})
    except CodedError as error:
        _answer(answers, {"error": error.as_dict()})
    except OSError as error:
        _answer(answers, {"error": unreadable(path, error).as_dict()})
    except MemoryError:
        _answer(answers, {"error": damaged(path, "a need for more memory than a reader may have").as_dict()})


def _answer(answers: BinaryIO, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content).encode() + b"\n")
    answers.flush()


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
