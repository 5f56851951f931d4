"""The compiled kernels: shipped beside the sources, or made once by the machine's own compiler."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent
#: Compiled ahead by who packs the sidecar (``compile_into``).
SHIPPED = SOURCES / "encoder.so"

_MAIN = "encoder.c"
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-O2", "-mavx2", "-mfma", "-mf16c", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread")
_COMPILE_S = 60.0

_TEMPORARY = ".making-"
_STALE_S = 24 * 3600.0

_lock = threading.Lock()

#: With AVX-512 a processor multiplies floats as fast as these kernels do integers, and OpenVINO uses it.
_WANTED, _UNWANTED = {"avx2", "fma", "f16c"}, {"avx512f"}


def is_supported() -> bool:
    """Tell whether the kernels are written for this system, whatever its processor."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def is_suited(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the kernels run on this processor, and are the faster way there."""
    if not is_supported():
        return False
    try:
        lines = cpuinfo.read_text("ascii", "replace").splitlines()
    except OSError:
        return False
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
    return flags >= _WANTED and not flags & _UNWANTED


def begin(cache_dir: Path) -> None:
    """Compile aside what ``library`` would, which then waits for it: other things can be done in that second."""
    if is_suited() and is_at_hand():
        threading.Thread(target=library, args=(cache_dir,), name="compiler", daemon=True).start()


def library(cache_dir: Path) -> Path | None:
    """Return the compiled kernels, compiling them (a second, once) where that was not done; None where nothing can."""
    with _lock:
        return _library(cache_dir)


def _library(cache_dir: Path) -> Path | None:
    if SHIPPED.is_file():
        return SHIPPED
    made = cache_dir / "kernels" / f"{_digest()}.so"
    if made.is_file():
        return made
    if _compiler() is None:
        return None
    try:
        compile_into(made)
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or b""
        log.warning("the kernels cannot be compiled: %s\n%s", error, output.decode("utf-8", "replace")[-2000:])
        return None
    return made


def compile_into(path: Path) -> None:
    """Compile the kernels as ``path``, whole or not at all. Raises ``OSError``, ``SubprocessError``."""
    compiler = _compiler()
    if compiler is None:
        raise FileNotFoundError(f"none of the compilers {', '.join(_COMPILERS)} is installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path.parent)
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = [compiler, *_FLAGS, "-o", str(made), str(SOURCES / _MAIN)]
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_COMPILE_S)
        made.replace(path)


def _remove_stale(folder: Path) -> None:
    """Remove what processes left that were killed while they compiled."""
    for left in folder.glob(_TEMPORARY + "*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)


def is_at_hand() -> bool:
    """Tell whether ``library`` has, or can hope to make, the kernels."""
    return SHIPPED.is_file() or _compiler() is not None


def _compiler() -> str | None:
    wanted = os.environ.get("CC")
    return next((found for name in (wanted, *_COMPILERS) if name and (found := shutil.which(name))), None)


def _digest() -> str:
    parts = [" ".join(_FLAGS).encode("ascii"), platform.machine().encode("ascii")]
    parts += [path.read_bytes() for path in sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")])]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
