"""What the sidecar is started with: command line over environment (``SIDECAR_<NAME>``) over defaults."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from preflight.wire import cpus, environment
from preflight.wire.http import DEFAULT_HOST, DEFAULT_PORT, MAX_BODY_BYTES, MAX_TEXTS
from preflight.wire.models import DEFAULT_MODEL
from sidecar.program import PROGRAM

_PREFIX = "SIDECAR_"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


class EngineName(StrEnum):
    """Which engine runs the model."""

    AUTO = "auto"
    #: 16-bit integers on processors with AVX2, for the families that ``sidecar.kernels`` computes.
    FIXED16 = "fixed16"
    OPENVINO = "openvino"
    TORCH = "torch"
    #: A model of a server elsewhere; ``Options.remote_url`` names it.
    REMOTE = "remote"


class Precision(StrEnum):
    """What the engine computes in. ``auto``: bf16 where the processor has it."""

    F32 = "f32"
    BF16 = "bf16"
    AUTO = "auto"


class UsageError(ValueError):
    """A bad option: names it, what was wanted, what was found and where it came from."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that decides how the sidecar runs. Durations in seconds, sizes in bytes."""

    host: str = DEFAULT_HOST
    #: 0: any free port.
    port: int = DEFAULT_PORT
    model: str = DEFAULT_MODEL
    engine: EngineName = EngineName.AUTO
    precision: Precision = Precision.F32
    #: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. A device that was named is never replaced by another.
    device: str = "auto"
    threads: int = 1
    #: Where prepared models are kept; None: the platform's cache folder.
    cache_dir: Path | None = None
    offline: bool = False
    max_texts: int = MAX_TEXTS
    max_body_bytes: int = MAX_BODY_BYTES
    #: How long running requests may take to finish when the sidecar is told to stop.
    drain_timeout: float = 5.0
    log_level: str = "info"
    #: Identity of this launch, echoed in ``hello`` and ``/health``.
    nonce: str = ""
    #: Asked of every caller but ``/health``'s; None: of nobody.
    token: str | None = field(default=None, repr=False)
    #: End of file on standard input means stop.
    lifeline: bool = False
    #: Share of its usual batch budget that the engine may use: less after an end for want of memory.
    batch_share: float = 1.0
    #: Server with OpenAI's API, its model, and what it is asked for; None: what is known of them.
    remote_url: str | None = None
    remote_model: str | None = None
    remote_dimensions: int | None = None
    remote_max_tokens: int | None = None
    remote_max_items: int | None = None
    remote_requests_per_minute: int | None = None
    remote_tokens_per_minute: int | None = None


class _Row(NamedTuple):
    """One option: its name on the command line, how it is read, and what ``--help`` says."""

    name: str
    read: Callable[[str], Any]
    help: str
    metavar: str | None = None

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")


def _between(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        wanted = f"a whole number from {low} to {high}"
        try:
            value = int(text)
        except ValueError:
            raise ValueError(wanted) from None
        if not low <= value <= high:
            raise ValueError(wanted)
        return value

    return read


def _seconds(text: str) -> float:
    wanted = "seconds from 0 to 3600"
    try:
        value = float(text)
    except ValueError:
        raise ValueError(wanted) from None
    if not 0 <= value <= 3600:
        raise ValueError(wanted)
    return value


def _one_of(*values: str) -> Callable[[str], str]:
    """Read one of ``values`` and return that very value, an enumeration's member where it is one."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError("one of " + ", ".join(values))
        return values[values.index(text)]

    return read


def _flag(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError("1 or 0")
    return text.lower() in _TRUE


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("a value that is not empty")
    return text


def _device(text: str) -> str:
    kind, separator, number = text.partition(":")
    if kind not in {"auto", "cpu", "cuda", "mps"} or (separator and (kind != "cuda" or not number.isdecimal())):
        raise ValueError("auto, cpu, cuda, cuda:N or mps")
    return text


_ROWS = (
    _Row("host", _filled, "address to listen on", "ADDRESS"),
    _Row("port", _between(0, 65535), "port to listen on; 0: any free one", "PORT"),
    _Row("model", _filled, "model name, model folder, or 'embedded'", "ID|DIR|embedded"),
    _Row("engine", _one_of(*EngineName), "what runs the model: " + ", ".join(EngineName)),
    _Row("precision", _one_of(*Precision), "what it computes in: " + ", ".join(Precision)),
    _Row("device", _device, "where it runs: auto, cpu, cuda, cuda:N, mps"),
    _Row("threads", _between(1, 1024), "threads of the engine (default: the physical cores this process may use)", "N"),
    _Row("cache-dir", Path, "folder for prepared models", "DIR"),
    _Row("offline", _flag, "never use the network"),
    _Row("max-texts", _between(1, 1_000_000), "most texts in a request", "N"),
    _Row("max-body-bytes", _between(1024, 1 << 31), "largest request body", "BYTES"),
    _Row("drain-timeout", _seconds, "how long running requests may finish on stop", "SECONDS"),
    _Row("remote-url", _filled, "engine remote: server with OpenAI's API (default: OpenAI's own)", "URL"),
    _Row("remote-model", _filled, "engine remote: its model; the key is SIDECAR_REMOTE_KEY or the keyring's", "NAME"),
    _Row("remote-dimensions", _between(1, 1 << 20), "engine remote: numbers of a vector, where that is free", "N"),
    _Row("remote-max-tokens", _between(1, 1 << 30), "engine remote: most tokens of a text", "N"),
    _Row("remote-max-items", _between(1, 1 << 20), "engine remote: most texts of a request", "N"),
    _Row("remote-requests-per-minute", _between(1, 1 << 30), "engine remote: most requests a minute", "N"),
    _Row("remote-tokens-per-minute", _between(1, 1 << 40), "engine remote: most tokens a minute", "N"),
    _Row("log-level", _one_of("debug", "info", "warning", "error"), "least level that is logged to standard error"),
)


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options of a start. Raises ``UsageError``; ``--help`` exits as argparse does."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Serve text embeddings of one model on a local port.",
        epilog="Each option is also an environment variable: --cache-dir is SIDECAR_CACHE_DIR. "
        "Other commands: convert, ingest, search; each has a --help of its own.",
        allow_abbrev=False,
    )
    add_arguments(parser)
    return read(parser.parse_args(list(argv)), environ)


def add_arguments(parser: argparse.ArgumentParser, names: Collection[str] | None = None) -> None:
    """Add the options called ``names`` to ``parser``; None: all of them."""
    for row in _ROWS:
        if names is not None and row.name not in names:
            continue
        if row.read is _flag:
            parser.add_argument(f"--{row.name}", action="store_const", const="1", help=row.help)
        else:
            parser.add_argument(f"--{row.name}", metavar=row.metavar or row.name.upper(), help=row.help)


def read(given: argparse.Namespace, environ: Mapping[str, str]) -> Options:
    """Return the options that a command line gave, over those of ``environ``. Raises ``UsageError``."""
    values: dict[str, Any] = {}
    for row in _ROWS:
        variable = _PREFIX + row.field.upper()
        argument = getattr(given, row.field, None)
        if argument is not None:
            values[row.field] = _value(row, argument, f"--{row.name}")
        elif environ.get(variable):
            values[row.field] = _value(row, environ[variable], f"environment variable {variable}")
    values.setdefault("threads", cpus.usable_cores())
    if (values.get("engine") is EngineName.REMOTE) != ("remote_model" in values):
        raise UsageError(
            "--engine and --remote-model: wanted both or neither, found one: no other engine is taken for a remote "
            "one, nor a remote one for another."
        )
    return Options(
        **values,
        nonce=environ.get(environment.NONCE) or secrets.token_hex(16),
        token=environ.get(environment.TOKEN) or None,
        lifeline=environ.get(environment.LIFELINE) == "1",
        batch_share=_batch_share(environ.get(environment.BATCH_SHARE) or "1"),
    )


def _batch_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        found = f"{text[:100]!r}"
        raise UsageError(f"environment variable {environment.BATCH_SHARE}: wanted over 0 to 1, found {found}.")
    return share


def _value(row: _Row, text: str, source: str) -> Any:
    try:
        return row.read(text)
    except ValueError as error:
        raise UsageError(f"{source}: wanted {error}, found {text[:100]!r}.") from None
