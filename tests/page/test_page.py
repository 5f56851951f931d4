"""The page as a person sees it: a real Chromium in front of a real supervisor."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.page.chromium import Tab
from tests.page.stand import Stand

pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.slow]

START = ("hello", "cached", "loaded", "warm", "busy:50", "serve")

STATE = "#state-word"


def headers(token: str) -> str:
    return json.dumps({"Authorization": f"Bearer {token}", "Content-Type": "application/json"})


async def submit_token(tab: Tab, token: str) -> None:
    await tab.until("document.querySelector('#token-dialog').open")
    assert await tab.js("document.activeElement.id") == "token"
    await tab.call("Input.insertText", text=token)
    await tab.press("Enter", 13)


async def test_a_first_start_shows_its_stages_and_then_its_work(tab: Tab, tmp_path: Path) -> None:
    download = ("download:model.safetensors:0:200000000", "download:model.safetensors:82000000:200000000")
    with Stand(tmp_path, "hello", *download, "gate:go", "loaded", "warm", "busy:50", "serve") as stand:
        await tab.open(stand.instance()["url"])
        await tab.sees(STATE, "Starting")
        await tab.sees("#stage-numbers", "41 % · 82 MB of 200 MB")
        await tab.sees("#stages [aria-current=step]", "Get model")
        assert await tab.js("document.querySelector('#stage-progress').value") == 41
        await tab.sees("#announcer", "Starting: step 6 of 9, Get model.")
        stand.open_gate("go")
        await tab.sees(STATE, "Ready")
        await tab.sees("#stages-summary", "Ready after")
        await tab.sees("#model", "fake/model · 4 dimensions")
        await tab.until("document.title.startsWith('Ready')")
        await tab.until("parseFloat(document.querySelector('#plot-throughput .figure').innerText) > 40")
        await tab.sees("#plot-memory .keys", "MB")
        await tab.sees("#log", "ready")


async def test_a_crash_while_open_is_told_with_its_reason(tab: Tab, tmp_path: Path) -> None:
    with Stand(tmp_path, *START) as stand:
        ready = stand.ready()
        await tab.open(ready["url"])
        await tab.sees("#timeline-summary", "None")
        os.kill(ready["sidecar_pid"], signal.SIGKILL)
        await tab.sees("#incidents", "SIDECAR_CRASHED")
        await tab.sees("#incidents", "Restart 1")
        await tab.sees("#incidents", "ready again after")
        await tab.sees(STATE, "Ready")
        assert await tab.js("document.querySelectorAll('#incidents li').length") == 1
        assert "ready" in await tab.js("[...document.querySelectorAll('#band span')].map(s => s.dataset.state)")


async def test_an_open_breaker_says_why_and_can_be_tried_now(tab: Tab, tmp_path: Path) -> None:
    count = tmp_path / "count"
    fails = f"times:6:{count}:exit:3"
    with Stand(tmp_path / "state", "stderr:the weights are cursed", fails, *START) as stand:
        instance = stand.instance()
        await tab.open(instance["url"])
        hurry = f"fetch('/supervisor/retry', {{method: 'POST', body: '{{}}', headers: {headers(instance['token'])}}})"
        while not count.exists() or count.stat().st_size < 5:  # it would wait seconds between its tries
            await tab.js(f"{hurry}.then(() => 0)")
        await tab.sees("#notices", "The sidecar keeps failing")
        await tab.sees(STATE, "Broken")
        for text in ("CRASH_LOOP", "The next try is in"):
            await tab.sees("#notices", text)
        await tab.js("document.querySelector('#notices summary').click()")
        await tab.sees("#notices", "the weights are cursed")
        await tab.js("document.querySelector('#notices button').click()")
        await submit_token(tab, "wrong")
        await tab.sees("#token-error", "not the supervisor’s token")
        await submit_token(tab, instance["token"])
        await tab.until("!document.querySelector('#token-dialog').open")
        await tab.until("document.querySelector('#state').dataset.state !== 'broken'")


async def test_it_comes_back_when_the_supervisor_does(tab: Tab, tmp_path: Path) -> None:
    with Stand(tmp_path, *START) as first:
        ready = first.ready()
        await tab.open(ready["url"])
        await tab.sees(STATE, "Ready")
        os.kill(ready["pid"], signal.SIGKILL)
        await tab.sees("#notices", "The supervisor does not answer")
        await tab.sees(STATE, "No answer")
        await tab.sees("#announcer", "The supervisor does not answer.")
    with Stand(tmp_path, *START, options=["--port", str(ready["port"])]) as second:
        second.ready()
        await tab.sees(STATE, "Ready")
        await tab.sees("#incidents", "New supervisor")
        await tab.until("document.querySelector('#notices').childElementCount === 0")
        second.process.terminate()
        await tab.sees("#notices", "The supervisor has stopped")


async def test_a_required_token_is_asked_for(tab: Tab, tmp_path: Path) -> None:
    with Stand(tmp_path, *START, options=["--require-token"]) as stand:
        ready = stand.ready()
        await tab.open(ready["url"])
        await tab.sees("#notices", "without its token")
        await tab.js("document.querySelector('#notices button').click()")
        await submit_token(tab, ready["token"])
        await tab.sees(STATE, "Ready")
        await tab.js("document.querySelector('#restart').click()")
        await tab.sees("#incidents", "restart requested")
        await tab.sees(STATE, "Ready")
        await tab.sees("#incidents", "ready again after")


async def test_texts_are_compared_and_the_doctor_asked_by_the_keyboard(tab: Tab, tmp_path: Path) -> None:
    with Stand(tmp_path) as stand:
        await tab.open(stand.ready()["url"])
        await tab.sees(STATE, "Ready")
        await tab.js("document.querySelector('#text-b').focus()")
        await tab.press("Tab", 9)
        assert await tab.js("document.activeElement.id") == "compare-run"
        await tab.press("Enter", 13)
        await tab.sees("#cosine", "384 dimensions")
        cosine = float((await tab.js("document.querySelector('.cosine').innerText")).split()[1])
        assert 0.3 < cosine < 0.9
        await tab.press("Tab", 9)
        assert await tab.js("document.activeElement.id") == "doctor-run"
        await tab.press("Enter", 13)
        await tab.sees("#doctor", "checks in")
        assert await tab.js("document.querySelectorAll('#doctor li').length") > 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_overflows_a_phone_and_everything_has_a_name(tab: Tab, tmp_path: Path, scheme: str) -> None:
    with Stand(tmp_path, *START) as stand:
        await tab.look(width=320, height=640, scheme=scheme)
        await tab.open(stand.ready()["url"])
        await tab.sees(STATE, "Ready")
        assert await tab.js("document.documentElement.scrollWidth") <= 320
        tree = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
        named = {"button", "link", "textbox", "searchbox", "checkbox", "radio", "progressbar", "image", "dialog"}
        controls = [node for node in tree if node.get("role", {}).get("value") in named and not node.get("ignored")]
        assert len(controls) > 10
        assert [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")] == []
