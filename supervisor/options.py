"""The options of the supervisor: one row each, read alike from command line, environment and file. Pure.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from preflight.wire.http import DEFAULT_HOST, DEFAULT_PORT
from preflight.wire.models import DEFAULT_MODEL
from supervisor import faults

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


class Kind(NamedTuple):
    """How a value is read. ``read`` takes text, or what a TOML file gives, and raises ``ValueError``."""

    wanted: str
    read: Callable[[Any], Any]
    metavar: str | None = None


def whole(low: int, high: int) -> Kind:
    """A whole number within bounds, both included."""

    def read(value: Any) -> int:
        if isinstance(value, bool | float):
            raise ValueError
        number = int(value)
        if not low <= number <= high:
            raise ValueError
        return number

    return Kind(f"a whole number from {low} to {high}", read, "N")


def seconds(low: float, high: float) -> Kind:
    """A duration in seconds within bounds, both included."""

    def read(value: Any) -> float:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number) or not low <= number <= high:
            raise ValueError
        return number

    return Kind(f"seconds from {low:g} to {high:g}", read, "S")


def one_of(*names: str) -> Kind:
    """One of a few words."""

    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return str(value)

    return Kind("one of " + ", ".join(names), read, "|".join(names))


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError
    return value.strip()


def _read_path(value: Any) -> Path:
    return Path(_read_text(value)).expanduser()


def _read_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def _read_origins(value: Any) -> tuple[str, ...]:
    parts: Iterable[Any] = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value
    origins = tuple(part for part in parts if part)
    if not all(isinstance(part, str) and re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", part) for part in origins):
        raise ValueError
    return origins


TEXT = Kind("a text that is not empty", _read_text)
PATH = Kind("a path", _read_path)
FAULTS = Kind("faults such as kill=30s,hang=2m,slow=200ms", lambda value: faults.read(_read_text(value)))
FLAG = Kind("true or false", _read_flag)
ORIGINS = Kind("origins such as http://localhost:5173", _read_origins, "ORIGIN")


class Option(NamedTuple):
    """One option. ``name`` is that of the command line without its dashes; the others follow from it."""

    name: str
    kind: Kind
    help: str
    default: Any = None
    metavar: str | None = None
    #: Field of ``Settings`` when it is not the name with underscores.
    stored_as: str | None = None

    @property
    def field(self) -> str:
        """Name of the field of ``Settings``."""
        return self.stored_as or self.key

    @property
    def key(self) -> str:
        """Key in ``config.toml``, and of the parsed command line."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """Environment variable."""
        return "SIDECAR_" + self.key.upper()


_HOUR = 3600.0

OPTIONS = (
    Option("host", TEXT, "address to listen on", DEFAULT_HOST, "HOST"),
    Option("port", whole(0, 65535), "port to listen on; 0 takes any that is free", DEFAULT_PORT),
    Option("model", TEXT, "name on the Hugging Face hub, folder, or 'embedded'", DEFAULT_MODEL, "ID|DIR|embedded"),
    Option("engine", one_of("auto", "fixed16", "openvino", "torch", "remote"), "what runs the model", "auto"),
    Option("remote-url", TEXT, "engine remote: server with OpenAI's API; default: OpenAI's own", metavar="URL"),
    Option("remote-model", TEXT, "engine remote: its model; the key is SIDECAR_REMOTE_KEY or the keyring's",
           metavar="NAME"),
    Option("remote-dimensions", whole(1, 1 << 20), "engine remote: numbers of a vector, where that is free"),
    Option("precision", one_of("f32", "bf16", "auto"), "number format of inference", "f32"),
    Option("threads", whole(1, 1024), "inference threads; default: the physical cores that may be used"),
    Option("venv", PATH, "virtual environment to use, made if it is missing", metavar="DIR"),
    Option("python", PATH, "interpreter to make the environment with", metavar="PATH"),
    Option("profile", one_of("lean", "full"), "packages to install: lean (no torch) or full"),
    Option("no-auto-restart", FLAG, "end when the sidecar ends", False),
    Option("restart-delay", seconds(0, _HOUR), "least wait before a restart", 0.0, stored_as="restart_delay_s"),
    Option("startup-timeout", seconds(0.1, 24 * _HOUR), "longest start; default: an allowance for each stage",
           stored_as="startup_timeout_s"),
    Option("hold-timeout", seconds(0, _HOUR), "how long a request waits through a restart", 30.0,
           stored_as="hold_timeout_s"),
    Option("memory-limit", whole(64, 16 * 1024 * 1024), "replace a sidecar that uses more", metavar="MB",
           stored_as="memory_limit_mb"),
    Option("idle-unload", seconds(1, 365 * 24 * _HOUR), "stop the sidecar when idle for so long; the next request "
           "wakes it", stored_as="idle_unload_s"),
    Option("standby", FLAG, "keep a second, loaded sidecar to fail over to", False),
    Option("events", one_of("auto", "jsonl", "human", "none"), "what to print; auto: human on a terminal", "auto"),
    Option("require-token", FLAG, "ask for the token on every call but /health", False),
    Option("allow-origin", ORIGINS, "let pages of this origin call; may be repeated", (), stored_as="allow_origins"),
    Option("host-pid", whole(1, 2**31 - 1), "stop when this process ends", metavar="PID"),
    Option("state-dir", PATH, "folder of this instance's state and logs", metavar="DIR"),
    Option("log-level", one_of("debug", "info", "warning", "error"), "print log lines of this level and above"),
    Option("attach", FLAG, "use an instance that is running already", False),
    Option("offline", FLAG, "never use the network", False),
    Option("chaos", FAULTS, "cause faults on purpose, to try a host: kill the sidecar and have it hang so often, hold "
           "up embedding by so much", metavar="kill=30s,hang=2m,slow=200ms"),
    Option("index-url", TEXT, "package index to install from, instead of the one that pip is configured to use",
           metavar="URL"),
    Option("torch-index", TEXT, "package index that has the CPU builds of torch", metavar="URL"),
)  # fmt: skip

BY_NAME = {option.name: option for option in OPTIONS}
