"""Where a remote model is, and the key to it. The key is never an argument: command lines are public."""

from __future__ import annotations

import argparse
import importlib
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from preflight.wire import ErrorCode
from sidecar.engines.remote.providers import OPENAI_URL, host_of, is_openai
from sidecar.failures import Failure
from sidecar.options import Options

#: Variables that hold the key; OpenAI's own is for OpenAI alone.
KEY_VARIABLE = "SIDECAR_REMOTE_KEY"
OPENAI_VARIABLE = "OPENAI_API_KEY"

#: Service under which the system's keyring has keys; the user name is the host.
KEYRING_SERVICE = "embedding-sidecar"


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Which model of which server, and how hard it may be asked. Durations in seconds."""

    url: str
    model: str
    #: Asked of models that allow it; None: the model's own.
    dimensions: int | None = None
    #: Most tokens of a text; None: what is known of the model.
    max_tokens: int | None = None
    #: Most texts of a request; None: what is known of the provider.
    max_items: int | None = None
    #: Requests and tokens a minute; None: no limit of ours.
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    #: Requests under way at once, bulk ones; queries have as many of their own.
    concurrency: int = 4
    #: For one try, and for a text with all tries.
    timeout: float = 60.0
    deadline: float = 300.0
    #: Dollars for a million tokens; None: what is known of the model.
    price: float | None = None

    def __post_init__(self) -> None:
        """Raises ``Failure`` (INVALID_REQUEST) for what cannot be meant."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise _bad("remote-url", "an address such as https://api.openai.com/v1", self.url)
        if parts.username or parts.password:
            raise _bad("remote-url", f"an address without a password; the key goes into {KEY_VARIABLE}", parts.hostname)
        if not self.model.strip():
            raise _bad("remote-model", "the name of a model", self.model)
        for name in ("dimensions", "max_tokens", "max_items", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise _bad(f"remote-{name.replace('_', '-')}", "at least 1", value)
        for name in ("concurrency", "timeout", "deadline"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise _bad(f"remote-{name}", "more than 0", value)
        if self.price is not None and not (self.price >= 0 and math.isfinite(self.price)):
            raise _bad("remote-price", "at least 0", self.price)


def find_key(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the key for ``url``: from the environment, then the system's keyring; None where there is none.

    Raises ``Failure`` (INVALID_REQUEST) rather than hand a key to an address
    where anyone on the way could read it.
    """
    key = environ.get(KEY_VARIABLE) or (environ.get(OPENAI_VARIABLE) if is_openai(url) else None) or _from_keyring(url)
    parts = urlsplit(url)
    if key and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise _bad("remote-url", "https where a key is sent", url)
    return key or None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--remote-...`` to a parser."""
    group = parser.add_argument_group("remote models", f"The key is read from {KEY_VARIABLE} or the system's keyring.")
    group.add_argument("--remote-url", metavar="URL", help=f"server with OpenAI's API (default: {OPENAI_URL})")
    group.add_argument("--remote-model", metavar="NAME", help="its model; with it, nothing is embedded on this machine")
    for name, text in (
        ("dimensions", "numbers of a vector, where the model allows to choose"),
        ("max-tokens", "most tokens of a text"),
        ("max-items", "most texts of a request"),
        ("requests-per-minute", "most requests a minute"),
        ("tokens-per-minute", "most tokens a minute"),
    ):
        group.add_argument(f"--remote-{name}", type=int, metavar="N", help=text)


def options_of(given: argparse.Namespace) -> RemoteOptions | None:
    """Return what ``add_arguments``' options say; None where no remote model is asked for. Raises ``Failure``."""
    if given.remote_model is None:
        if given.remote_url is not None:
            raise _bad("remote-model", "the name of a model beside --remote-url", None)
        return None
    return RemoteOptions(
        given.remote_url or OPENAI_URL,
        given.remote_model,
        given.remote_dimensions,
        given.remote_max_tokens,
        given.remote_max_items,
        given.remote_requests_per_minute,
        given.remote_tokens_per_minute,
    )


def options_of_sidecar(options: Options) -> RemoteOptions:
    """Return what a sidecar's own options say of its remote model. Raises ``Failure``."""
    return RemoteOptions(
        options.remote_url or OPENAI_URL,
        options.remote_model or "",
        options.remote_dimensions,
        options.remote_max_tokens,
        options.remote_max_items,
        options.remote_requests_per_minute,
        options.remote_tokens_per_minute,
    )


def _from_keyring(url: str) -> str | None:
    try:
        keyring: Any = importlib.import_module("keyring")
    except ImportError:
        return None
    try:
        found: str | None = keyring.get_password(KEYRING_SERVICE, host_of(url))
    except Exception:  # no keyring on this machine, or a locked one: as many errors as there are systems
        return None
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bad(option: str, wanted: str, found: object) -> Failure:
    return Failure(
        ErrorCode.INVALID_REQUEST,
        f"--{option}: wanted {wanted}, found {found!r:.200}.",
        hint="Correct the option.",
        details={"option": option, "wanted": wanted, "found": str(found)[:200]},
    )
