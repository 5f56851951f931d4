"""The command line: commands, and which options each of them takes.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import NoReturn

from preflight.wire.version import VERSION
from supervisor.options import BY_NAME, FLAG, OPTIONS, ORIGINS, Option
from supervisor.programs import FROM_SOURCE, OURS, SUPERVISOR

_ALL = tuple(option.name for option in OPTIONS)
_MAKING = ("profile", "engine", "venv", "python", "offline", "index-url", "torch-index", "state-dir")

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
    ("models", "list, fetch, remove and verify models", _MAKING),
    ("diagnose", "pack reports, launches and logs, without secrets, for whoever is to help", _ALL),
)

#: Commands that print for programs when asked to.
_WITH_JSON = {"doctor", "status", "stop", "restart", "logs", "events", "diagnose"}

#: Flags of single commands.
_FLAGS = (
    ("--deep", {"doctor"}, "also load every package and embed one text"),
    ("--fix", {"doctor"}, "repair what can be repaired; asks first"),
    ("--dry-run", {"doctor"}, "say what --fix would do, and do nothing"),
    ("--yes", {"doctor"}, "let --fix go on without asking"),
    ("--wait", {"doctor", "setup"}, "wait while a running supervisor uses the environment"),
)

#: What ``models`` does, and whether it takes names.
_MODELS = (
    ("list", "*", "show the models on disk"),
    ("add", "+", "fetch models, or what is missing of them"),
    ("remove", "+", "remove models from the cache"),
    ("verify", "*", "check every file of the models against what it should be"),
)


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
        prog=SUPERVISOR if OURS.is_bundled else FROM_SOURCE,
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
        for flag, of, help_ in _FLAGS:
            if name in of:
                command.add_argument(flag, action="store_true", help=help_)
        if name == "logs":
            command.add_argument("--tail", type=int, default=200, metavar="N", help="how many lines (default 200)")
            command.add_argument("-f", "--follow", action="store_true", help="go on with the lines that come")
        if name == "diagnose":
            command.add_argument("-o", "--output", metavar="FILE.zip", help="where to; default: here, named by time")
        if name == "models":
            _add_models(command)
    return parser


def _add_models(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=_Parser)
    for name, count, help_ in _MODELS:
        action = actions.add_parser(name, help=help_, description=help_.capitalize() + ".", allow_abbrev=False)
        action.add_argument("names", nargs=count, metavar="MODEL", help="name on the hub, as ORG/NAME")
        action.add_argument("--json", action="store_true", help="print JSON")


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
