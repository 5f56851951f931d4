"""The settings of one run: command line over environment over ``config.toml`` over defaults, read once.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import argparse
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preflight import folders
from preflight.dependencies import Extra, Profile
from preflight.wire.models import EMBEDDED_MODEL
from supervisor.faults import Faults
from supervisor.options import OPTIONS, Option

CONFIG_FILE = "config.toml"

_REMOTE = Extra.REMOTE.value


class ConfigError(ValueError):
    """A setting that cannot be used: names it, what was wanted, what was found, and where that came from."""

    def __init__(self, option: str, wanted: str, found: str, source: str) -> None:
        super().__init__(f"{option}: wanted {wanted}, found {found} ({source})")
        self.option = option
        self.wanted = wanted
        self.found = found
        self.source = source


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides how the supervisor runs. Durations in seconds, paths absolute."""

    host: str
    #: 0: any free port.
    port: int
    model: str
    engine: str
    #: What engine ``remote`` asks, and of whom; None: the sidecar's own default.
    remote_url: str | None
    remote_model: str | None
    remote_dimensions: int | None
    precision: str
    #: None: the physical cores that may be used.
    threads: int | None
    #: None: chosen among the usual places, else made in the data folder.
    venv: Path | None
    python: Path | None
    #: As asked for; ``wanted_profile`` is what follows from it.
    profile: Profile | None
    auto_restart: bool
    restart_delay_s: float
    #: None: an allowance for each stage.
    startup_timeout_s: float | None
    hold_timeout_s: float
    memory_limit_mb: int | None
    idle_unload_s: float | None
    standby: bool
    events: str
    require_token: bool
    allow_origins: tuple[str, ...]
    host_pid: int | None
    state_dir: Path
    log_dir: Path
    #: None: log lines are kept in files and not printed.
    log_level: str | None
    attach: bool
    offline: bool
    #: None: none but those that come by themselves.
    chaos: Faults | None
    #: None: as pip is configured.
    index_url: str | None
    torch_index: str | None
    #: Where the managed environment is, or will be made.
    data_dir: Path

    @property
    def is_remote(self) -> bool:
        """Whether the model is elsewhere."""
        return self.engine == _REMOTE

    @property
    def wanted_profile(self) -> Profile:
        """The packages that this run needs."""
        if self.profile is not None:
            return self.profile
        return Profile.FULL if self.engine == "torch" else Profile.LEAN

    @property
    def wanted_extras(self) -> tuple[Extra, ...]:
        """The packages that it needs beside them."""
        return (Extra.REMOTE,) if self.is_remote else ()

    @property
    def remote(self) -> Mapping[str, object]:
        """Options of the sidecar's for engine ``remote``; None: not given."""
        return {
            "remote-url": self.remote_url,
            "remote-model": self.remote_model,
            "remote-dimensions": self.remote_dimensions,
        }

    @property
    def serves_embedded_model(self) -> bool:
        """Whether the model is the one that comes as a package."""
        return self.model == EMBEDDED_MODEL


def load(arguments: argparse.Namespace, environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """Return the settings; ``file``: ``config.toml`` when it is not in the platform's config folder.

    ``arguments`` holds the options of the command line as text, None where not
    given. Raises ``ConfigError`` for the first value that cannot be used, an
    unknown key, an unreadable file and options that do not go together.
    """
    try:
        places = folders.locate()
    except RuntimeError as error:
        raise ConfigError("HOME", "a home folder", str(error), "environment") from error
    path = file or places.config / CONFIG_FILE
    sources = {
        "command line": _from_arguments(arguments),
        "environment": _from_environment(environ),
        str(path): _from_file(path),
    }
    given = ChainMap(*map(dict, sources.values()))
    values = {option.field: given.get(option.name, option.default) for option in OPTIONS}
    values["auto_restart"] = not values.pop("no_auto_restart")
    values["profile"] = Profile(values["profile"]) if values["profile"] else None
    chosen = values["state_dir"]
    values["state_dir"] = (chosen or places.state).absolute()
    log_dir = values["state_dir"] / "log" if chosen else places.log
    settings = Settings(**values, log_dir=log_dir, data_dir=places.data)
    if settings.engine == "torch" and settings.profile is Profile.LEAN:
        raise ConfigError("--profile", "full, which the torch engine needs", "'lean'", "given with engine torch")
    if "remote_model" in arguments:  # ``setup`` takes the engine alone
        _check_remote(settings, sources)
    return settings


def _check_remote(settings: Settings, sources: Mapping[str, Mapping[str, Any]]) -> None:
    """Nothing turns from this machine to another by itself, or back: engine and options come together."""

    def given(name: str) -> str | None:
        return next((source for source, values in sources.items() if name in values), None)

    if settings.is_remote and settings.remote_model is None:
        wanted = "the name of the server's model, which engine remote needs"
        raise ConfigError("--remote-model", wanted, "none", f"engine remote: {given('engine')}")
    for name in settings.remote:
        source = given(name)
        if source is not None and not settings.is_remote:
            raise ConfigError(f"--{name}", "engine remote beside it", f"engine {settings.engine!r}", source)
    if settings.remote_url is not None:
        _check_url(settings.remote_url, str(given("remote-url")))


def _check_url(url: str, source: str) -> None:
    """It goes to the sidecar by its command line, which is everyone's to read, so it may hold no secret."""
    from urllib.parse import urlsplit  # most runs name no address

    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if "@" in url:
        wanted = "an address without user and password (the key is SIDECAR_REMOTE_KEY or the keyring's)"
        raise ConfigError("--remote-url", wanted, "one with an @", source)
    if not usable:
        raise ConfigError("--remote-url", "an address such as http://localhost:8080/v1", repr(url)[:200], source)


def _from_arguments(arguments: argparse.Namespace) -> Mapping[str, Any]:
    given = ((option, getattr(arguments, option.key, None)) for option in OPTIONS)
    return {o.name: _read(o, value, f"--{o.name}", "command line", Path()) for o, value in given if value is not None}


def _from_environment(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """A variable that is set to nothing counts as not set."""
    given = ((option, environ.get(option.variable, "")) for option in OPTIONS)
    return {o.name: _read(o, value, o.variable, "environment", Path()) for o, value in given if value.strip()}


def _from_file(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    import tomllib  # 4 ms, and most people have no such file

    try:
        table = tomllib.loads(text)
    except ValueError as error:
        raise _unreadable(path, error) from error
    options = dict(_file_options(table, path))
    return {o.name: _read(o, table[key], key, str(path), path.parent) for key, o in options.items()}


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(CONFIG_FILE, "a readable TOML file", f"{error}", str(path))


def _file_options(table: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Option]]:
    """Pair each key, spelled with dashes or underscores, with its option."""
    known = {option.key: option for option in OPTIONS}
    for key in table:
        option = known.get(key.replace("-", "_"))
        if option is None:
            import difflib

            near = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
            wanted = f"{near[0]}, perhaps" if near else "one of the options of 'run'"
            raise ConfigError(f"key {key!r}", wanted, "an unknown key", str(path))
        yield key, option


def _read(option: Option, value: Any, spelled: str, source: str, base: Path) -> Any:
    """Read one value; a relative path counts from ``base``."""
    try:
        read = option.kind.read(value)
    except (ValueError, TypeError, OverflowError, RuntimeError):  # the last: "~" of a user who has no home
        raise ConfigError(spelled, option.kind.wanted, repr(value)[:200], source) from None
    return (base / read).absolute() if isinstance(read, Path) else read
