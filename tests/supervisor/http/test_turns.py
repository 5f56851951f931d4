from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from supervisor.http.turns import Turns


class Runner:
    """Takes turns by name and records who runs."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.running: set[str] = set()
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, name: str, *, alone: bool = False) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(name, self.turns.alone if alone else self.turns.together))
        await self.settle()

    async def _run(self, name: str, turn: Callable[[], object]) -> None:
        async with turn():  # type: ignore[attr-defined]
            self.running.add(name)
            try:
                await self._ends[name].wait()
            finally:
                self.running.discard(name)

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self.settle()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def runner() -> Runner:
    return Runner()


async def test_many_run_together(runner: Runner) -> None:
    await runner.start("a")
    await runner.start("b")
    assert runner.running == {"a", "b"}


async def test_alone_means_alone_and_in_order(runner: Runner) -> None:
    await runner.start("a")
    await runner.start("alone", alone=True)
    await runner.start("b")
    assert runner.running == {"a"}
    assert runner.turns.waiting == 2
    await runner.end("a")
    assert runner.running == {"alone"}
    await runner.start("c")
    await runner.end("alone")
    assert runner.running == {"b", "c"}


async def test_two_alone_run_one_after_the_other(runner: Runner) -> None:
    await runner.start("a", alone=True)
    await runner.start("b", alone=True)
    assert runner.running == {"a"}
    await runner.end("a")
    assert runner.running == {"b"}


async def test_giving_up_the_wait_lets_those_behind_in(runner: Runner) -> None:
    await runner.start("a")
    await runner.start("alone", alone=True)
    await runner.start("b")
    await runner.cancel("alone")
    assert runner.running == {"a", "b"}


async def test_cancelled_while_running_or_just_admitted(runner: Runner) -> None:
    await runner.start("a", alone=True)
    await runner.start("b", alone=True)
    await runner.start("c")
    runner._ends["a"].set()
    await asyncio.sleep(0)  # b is admitted and has not noticed
    await runner.cancel("b")
    assert runner.running == {"c"}
    await runner.cancel("c")
    await runner.start("d", alone=True)
    assert runner.running == {"d"}
