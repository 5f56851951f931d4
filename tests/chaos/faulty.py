"""The real sidecar, with faults to order: what the supervisor runs instead of ``sidecar/__main__.py``.

By its environment: ``CHAOS_BROKEN=FILE``: ends at its start while FILE exists.
``CHAOS_PLANT=FILE``: starts a tree that will not go (see ``fakes``), whose pids FILE gets.

By texts, once they reach the engine: ``chaos:ACTION[:ARGUMENT]`` with the actions below;
``chaos:ACTION-once:FILE``: only while FILE does not exist, which is made then.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if TYPE_CHECKING:
    from sidecar.engines.base import Encoded, Float32, ModelCard, TokenIds

PLANT = "CHAOS_PLANT"
BROKEN = "CHAOS_BROKEN"

#: Exit status of a start that was broken to order.
BROKEN_STATUS = 3

_ORDER = re.compile(r"chaos:([a-z]+)(-once)?(?::(\S+))?")


def crash(_: str) -> None:
    """End as a fault in a library does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


def hang(_: str) -> None:
    """Deadlock this thread alone."""
    import threading

    threading.Event().wait()


def gil(_: str) -> None:
    """Stand still in C with the GIL held: no thread of Python runs any more."""
    import ctypes

    ctypes.PyDLL(None).sleep(3600)


def slow(seconds: str) -> None:
    """Take long, working and waiting in turns, as on a machine that swaps."""
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        sum(range(200_000))  # some 5 ms, with the GIL
        time.sleep(0.02)


ACTIONS: dict[str, Callable[[str], None]] = {"crash": crash, "hang": hang, "gil": gil, "slow": slow}


class FaultyEngine:
    """An engine that obeys the texts it is given, and otherwise is the one it wraps."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._orders: dict[bytes, re.Match[str]] = {}

    @property
    def card(self) -> ModelCard:
        card: ModelCard = self._engine.card
        return card

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        encoded: list[Encoded] = self._engine.tokenize(texts)
        for text, one in zip(texts, encoded, strict=True):
            if order := _ORDER.search(text):
                self._orders[one.ids.tobytes()] = order
        return encoded

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        self._obey(batch)
        rows: Float32 = self._engine.infer(batch)
        return rows

    def infer_in_steps(self, batch: Sequence[TokenIds]) -> Generator[None, None, Float32]:
        self._obey(batch)
        rows: Float32 = yield from self._engine.infer_in_steps(batch)
        return rows

    def close(self) -> None:
        self._engine.close()

    def _obey(self, batch: Sequence[TokenIds]) -> None:
        for ids in batch:
            if order := self._orders.get(ids.tobytes()):
                action, once, argument = order.groups()
                if not once or _is_first(argument):
                    ACTIONS[action](argument or "")


def _is_first(path: str) -> bool:
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if (broken := os.environ.get(BROKEN)) and Path(broken).exists():
        print("broken to order", file=sys.stderr)
        return BROKEN_STATUS
    if plant := os.environ.pop(PLANT, None):
        from tests.fakes import Fake

        Fake().do_tree(plant)
    from sidecar import command
    from sidecar.engines import loader

    for name, load in list(loader.LOADERS.items()):
        loader.LOADERS[name] = lambda *given, load=load: FaultyEngine(load(*given))
    return command.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
