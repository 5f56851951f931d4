"""What to tell an installer: arguments and environment, for pip and for uv. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from preflight.dependencies import Extra, Profile
from preflight.wire import environment
from supervisor.contents import Contents

#: Of the installers' variables those that would put packages elsewhere, or install others than we ask for.
_BENT = re.compile(
    r"PIP_(BREAK_SYSTEM_PACKAGES|DRY_RUN|IGNORE_INSTALLED|LOG|NO_BINARY|NO_DEPS|ONLY_BINARY|PREFIX|PROGRESS_BAR|PYTHON"
    r"|QUIET|REPORT|REQUIREMENT|REQUIRE_VIRTUALENV|ROOT|TARGET|USER|VERBOSE)"
    r"|UV_(DRY_RUN|PROJECT_ENVIRONMENT|PYTHON|SYSTEM_PYTHON|TARGET)"
)

#: pip's settings as uv spells them. uv does not read pip's configuration, and users have their index there.
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where packages come from, beside what the user's own configuration says."""

    offline: bool = False
    #: Instead of the index that the installer is configured to use.
    index: str | None = None
    #: An index that has the CPU builds of torch.
    torch_index: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One installation. ``arguments`` mean the same to both installers."""

    arguments: tuple[str, ...]
    #: About how many packages it brings.
    expected: int


#: About how many packages come with each.
_COUNTS = {Profile.LEAN: 30, Profile.FULL: 55, Extra.REMOTE: 20}


def steps(contents: Contents) -> tuple[Step, ...]:
    """Return the installations that fill an environment with ``contents``, in order.

    Without pins each package is the newest within its range, and torch, whose
    build the pins choose, must be there already.
    """
    count = sum(_COUNTS[part] for part in (contents.profile, *contents.extras))
    if contents.profile is Profile.FULL and contents.pins:
        return (Step(_each("--requirement", contents.pins), count),)
    pins = _each("--constraint", contents.pins)
    wanted = [d for d in contents.needed if d.name != "torch"]
    together = tuple(d.name + d.specifier for d in wanted if not d.alone)
    alone = tuple(d.name + d.specifier for d in wanted if d.alone)
    return (Step((*pins, *together), count), Step((*pins, "--no-deps", *alone), len(alone)))


def _each(option: str, files: Iterable[Path]) -> tuple[str, ...]:
    return tuple(part for file in files for part in (option, str(file)))


def pip(python: str, arguments: Iterable[str], sources: Sources, *, reports_bytes: bool = False) -> list[str]:
    """The command that has the pip of ``python`` install. ``reports_bytes``: it is 24.1 or newer."""
    bar = "raw" if reports_bytes else "off"
    command = [python, "-I", "-m", "pip", "--no-input", "--disable-pip-version-check", "install", "--no-user"]
    command += ["--no-compile", "--no-warn-script-location", "--progress-bar", bar, "--only-binary=:all:"]
    if sources.offline:
        return [*command, "--no-index", *arguments]
    if sources.index:
        command += ["--index-url", sources.index]
    if sources.torch_index:
        command += ["--extra-index-url", sources.torch_index]
    return [*command, *arguments]


def uv(program: str, python: str, arguments: Iterable[str], sources: Sources) -> list[str]:
    """The command that has uv install into the environment of ``python``."""
    command = [program, "pip", "install", "--python", python, "--only-binary=:all:"]
    if sources.index:
        command += ["--default-index", sources.index]
    if sources.offline:
        command.append("--offline")
    if sources.torch_index:
        # As pip does: the best version of any index, not the first index that knows the name.
        command += ["--index", sources.torch_index, "--index-strategy", "unsafe-best-match"]
    return [*command, *arguments]


def torch_by_uv(program: str, python: str, contents: Contents) -> list[str]:
    """The command that has uv install torch's CPU build: it knows where its builds are kept."""
    torch = next(d.name + d.specifier for d in contents.needed if d.name == "torch")
    pins = _each("--constraint", contents.pins)
    command = [program, "pip", "install", "--python", python, "--only-binary=:all:"]
    return [*command, "--no-deps", "--torch-backend=cpu", *pins, torch]


def installer_environment(base: Mapping[str, str], scratch: Path, *, frozen: bool) -> dict[str, str]:
    """The environment of an installer: the user's own, without what would bend it.

    ``scratch``: its temporary folder, so that a small ``/tmp`` and a kill leave no trace.
    """
    scrubbed = environment.scrubbed(base, frozen=frozen)
    kept = {name: value for name, value in scrubbed.items() if not _BENT.fullmatch(name)}
    ours = {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "500", "UV_NO_PROGRESS": "1"}
    return {**kept, **ours, **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(scratch))}


def uv_environment(base: Mapping[str, str], pip_config: str) -> dict[str, str]:
    """``base`` for uv, with pip's settings in uv's spelling. ``pip_config``: what ``pip config list`` printed."""
    settings = _pip_settings(pip_config)
    named = {_UV_NAMES[key]: " ".join(value.split()) for key, value in settings.items() if key in _UV_NAMES}
    if "UV_FIND_LINKS" in named:
        named["UV_FIND_LINKS"] = ",".join(named["UV_FIND_LINKS"].split())
    if "UV_INDEX" in named:
        named["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **named, **base}


def _pip_settings(listing: str) -> dict[str, str]:
    """Settings by name; those of the environment over those for ``install`` over the global ones."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.strip().rpartition(".")
        if section in found and value:
            found[section][key] = _unquoted(value)
    return {**found["global"], **found["install"], **found[":env:"]}


def _unquoted(value: str) -> str:
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value
