"""The command line: commands, and which options each of them takes.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import NoReturn

from preflight.wire.version import VERSION
from supervisor.options import BY_NAME, FLAG, OPTIONS, ORIGINS, Option

_ALL = tuple(option.name for option in OPTIONS)
_MAKING = ("profile", "engine", "venv", "python", "offline", "torch-index", "state-dir")

#: Command, what it does, options of ``run`` that it takes.
COMMANDS = (
    ("run", "start everything and serve; makes the environment if it is missing", _ALL),
    ("doctor", "check this machine and the environment", _ALL),
    ("setup", "make or repair the environment", _MAKING),
    ("status", "show the running instance", ("state-dir",)),
    ("stop", "stop the running instance", ("state-dir",)),
    ("restart", "restart its sidecar", ("state-dir",)),
    ("logs", "show its log", ("state-dir",)),
    ("events", "show its events as they come", ("state-dir",)),
)

#: Commands that print for programs when asked to.
_WITH_JSON = {"doctor", "status", "stop", "restart", "logs", "events"}


class UsageError(ValueError):
    """The command line cannot be read. ``usage`` is how it should look."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing and exiting: printing is the command line's own business."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage())


def parse(argv: Iterable[str]) -> argparse.Namespace:
    """Read the command line. Raises ``UsageError``; ``--help`` and ``--version`` print and exit.

    Values are left as text, None where an option was not given.
    """
    return _parser().parse_args(list(argv))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python3 -m supervisor",
        description="Text embeddings for desktop apps: a local server that starts, restarts and explains itself.",
        epilog="Every option of 'run' is also an environment variable, SIDECAR_<NAME>, and a key of config.toml.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"embedding-sidecar {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, help_, options in COMMANDS:
        command = commands.add_parser(name, help=help_, description=help_.capitalize() + ".", allow_abbrev=False)
        for option in options:
            _add(command, BY_NAME[option])
        if name in _WITH_JSON:
            command.add_argument("--json", action="store_true", help="print JSON")
        if name == "doctor":
            command.add_argument(
                "--fix", action="store_true", help="make or repair the environment if that is the fault"
            )
        if name == "logs":
            command.add_argument("--tail", type=int, default=200, metavar="N", help="how many lines (default 200)")
    return parser


def _add(command: argparse.ArgumentParser, option: Option) -> None:
    flag = f"--{option.name}"
    default = f" (default {option.default})" if option.default not in (None, False, ()) else ""
    help_ = (option.help + default).replace("%", "%%")
    if option.kind is FLAG:
        command.add_argument(flag, dest=option.key, action="store_const", const="true", help=help_)
    elif option.kind is ORIGINS:
        command.add_argument(flag, dest=option.key, action="append", metavar=option.kind.metavar, help=help_)
    else:
        command.add_argument(flag, dest=option.key, metavar=option.metavar or option.kind.metavar, help=help_)
