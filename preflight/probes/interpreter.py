"""The running interpreter, and virtual environments seen from outside."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import sys
import sysconfig
from pathlib import Path
from typing import Any, Mapping

from preflight.facts import PythonFacts, VenvFacts
from preflight.folders import MARKER

#: What we need of the standard library that distributions split off or builds leave out.
NEEDED_MODULES = ("ctypes", "ensurepip", "ssl", "venv", "zlib")

_IMAGE_FILE_MACHINE_ARM64 = 0xAA64  # winnt.h


def running(source: str) -> PythonFacts:
    """Describe the interpreter that runs this."""
    return PythonFacts(
        path=sys.executable,
        version=(sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
        implementation=sys.implementation.name,
        bits=struct.calcsize("P") * 8,
        machine=machine(),
        emulated_on=_emulated_on(),
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        missing_modules=tuple(name for name in NEEDED_MODULES if not _is_there(name)),
        source=source,
    )


def machine() -> str:
    """Architecture that this interpreter runs as, in lower case."""
    if hasattr(os, "uname"):
        return os.uname().machine.lower()
    return os.environ.get("PROCESSOR_ARCHITECTURE", "").lower()


def environment(path: str) -> VenvFacts:
    """Describe the virtual environment at ``path`` without running it."""
    folder = Path(path)
    if not _holds_anything(folder):
        return VenvFacts(path=path, exists=False)
    config = _config(folder / "pyvenv.cfg")
    python = venv_python(folder)
    marker = _marker(folder)
    base = (config or {}).get("home")
    return VenvFacts(
        path=path,
        exists=True,
        configured=config is not None,
        python=str(python),
        python_problem=_problem(python),
        base=base,
        base_exists=base is None or Path(base).is_dir(),
        made_for=(config or {}).get("version") or (config or {}).get("version_info"),
        running=".".join(str(n) for n in sys.version_info[:3]) if is_inside(path) else None,
        profile=marker.get("profile"),
        pins=marker.get("pins"),
    )


def venv_python(folder: Path) -> Path:
    """Where the environment at ``folder`` has its interpreter."""
    return folder / "Scripts" / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"


def is_inside(path: str) -> bool:
    """Whether the running interpreter is that of the environment at ``path``."""
    return os.path.realpath(sys.prefix) == os.path.realpath(path)


def _holds_anything(folder: Path) -> bool:
    try:
        return next(folder.iterdir(), None) is not None
    except NotADirectoryError:
        return True
    except OSError:  # a folder that we may not look into counts as there; the missing one does not
        return folder.exists()


def _is_there(module: str) -> bool:
    """Find a module, or the compiled part of one, without running it."""
    compiled = {"ctypes": "_ctypes", "ssl": "_ssl"}
    try:
        found = importlib.util.find_spec(module) is not None
        return found and importlib.util.find_spec(compiled.get(module, module)) is not None
    except (ImportError, ValueError):
        return False


def _emulated_on() -> str | None:
    """The processor's architecture when this interpreter is translated to it."""
    if sys.platform == "darwin":
        return "arm64" if _sysctl_flag(b"sysctl.proc_translated") else None
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        process, native = ctypes.c_ushort(), ctypes.c_ushort()
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        kernel.IsWow64Process2.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        known = kernel.IsWow64Process2(kernel.GetCurrentProcess(), ctypes.byref(process), ctypes.byref(native))
        if known and native.value == _IMAGE_FILE_MACHINE_ARM64 and machine() != "arm64":
            return "arm64"
    return None


def _sysctl_flag(name: bytes) -> bool:
    try:
        import ctypes

        value, size = ctypes.c_int(0), ctypes.c_size_t(4)
        failed = ctypes.CDLL(None).sysctlbyname(name, ctypes.byref(value), ctypes.byref(size), None, 0)
        return not failed and value.value == 1
    except (ImportError, OSError, AttributeError):
        return False


def _config(path: Path) -> Mapping[str, str] | None:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _problem(python: Path) -> str | None:
    try:
        there = python.exists()
    except OSError as error:  # a folder that we may not look into
        return f"cannot be reached: {error.strerror or error}"
    if not there:
        return f"points to {os.path.realpath(str(python))}, which is gone" if python.is_symlink() else "is missing"
    return None if os.access(str(python), os.X_OK) else "may not be executed"


def _marker(folder: Path) -> Mapping[str, Any]:
    try:
        marker = json.loads((folder / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}
