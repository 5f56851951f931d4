from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.http.world import Settings, World

#: Starts a public port; options of the settings, and ``ready``: whether a sidecar is there from the start.
MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture
async def make_world(tmp_path: Path) -> AsyncIterator[MakeWorld]:
    """Start public ports that end with the test."""
    worlds = []

    async def make(*, ready: bool = True, **settings: Any) -> World:
        worlds.append(World(Settings(tmp_path, **settings)))
        return await worlds[-1].start(ready=ready)

    yield make
    for world in worlds:
        await world.close()


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """A public port with a ready sidecar behind it."""
    return await make_world()
