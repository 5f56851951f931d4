from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.page.chromium import Browser, Tab, browser, executable


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    if executable() is None:
        pytest.skip("needs Chromium; $CHROMIUM names one elsewhere than on PATH")
    async with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="package")
async def tab(chromium: Browser) -> AsyncIterator[Tab]:
    """A page of its own; its console must have had nothing to complain of at the end."""
    async with chromium.tab() as opened:
        yield opened
        assert opened.problems == []
