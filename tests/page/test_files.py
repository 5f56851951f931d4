"""What is served at ``/`` and below ``/page/``: whole, offline, readable, and behind no token."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from supervisor import page

STATIC = page.FOLDER
OURS = sorted(path for path in STATIC.rglob("*") if path.is_file() and "vendor" not in path.parts)


def test_the_document_names_every_module_and_sheet_and_nothing_else() -> None:
    document = (STATIC / "index.html").read_text("utf-8")
    named = set(re.findall(r'(?:href|src)="(/page/[^"]+)"', document))
    served = {file.path for file in page.files()} - {"/"}
    assert named == served


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere_and_no_text_becomes_html(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert ' style="' not in text


def test_modules_import_only_what_is_there() -> None:
    for path in (STATIC / "js").glob("*.js"):
        for name in re.findall(r'^import .* from "(.+)";$', path.read_text("utf-8"), re.MULTILINE):
            assert (path.parent / name).is_file(), f"{path.name}: {name}"


def test_every_element_that_a_module_asks_for_is_in_the_document() -> None:
    document = (STATIC / "index.html").read_text("utf-8")
    wanted = {
        name
        for path in (STATIC / "js").glob("*.js")
        for name in re.findall(r'byId\("([^"]+)"\)', path.read_text("utf-8"))
    }
    assert wanted <= set(re.findall(r'id="([^"]+)"', document))


def test_the_vendored_library_has_its_licence() -> None:
    assert "MIT" in (STATIC / "vendor" / "uplot" / "LICENSE").read_text("utf-8")


def luminance(color: str) -> float:
    """Relative luminance of ``#rrggbb``, as WCAG 2 defines it."""
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_and_marks_stand_out_from_what_is_behind_them(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (STATIC / "css" / "base.css").read_text("utf-8"), re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme]))

    def contrast(front: str, back: str) -> float:
        low, high = sorted((luminance(colors[front]), luminance(colors[back])))
        return (high + 0.05) / (low + 0.05)

    for back in ("paper", "card", "alert-wash", "warn-wash", "info-wash"):
        assert min(contrast(front, back) for front in ("ink", "quiet")) >= 4.5, back
    for front in ("accent", "broken", "doubt"):
        assert min(contrast(front, back) for back in ("paper", "card")) >= 4.5, front
    assert contrast("on-accent", "accent") >= 4.5
    for mark in ("ready", "working", "idle", "edge", "line-a", "line-b"):
        assert contrast(mark, "card") >= 3, mark


async def test_files_come_with_a_strict_policy_and_are_asked_about_cheaply() -> None:
    app = web.Application()
    for path, serve in page.routes().items():
        app.router.add_get(path, serve)
    async with TestClient(TestServer(app)) as client:
        first = await client.get("/")
        assert (first.status, first.content_type, first.charset) == (200, "text/html", "utf-8")
        assert first.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in first.headers["Content-Security-Policy"]
        again = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, await again.read()) == (304, b"")
        module = await client.get("/page/js/main.js")
        assert module.content_type == "text/javascript"
        assert (await client.get("/page/vendor/uplot/LICENSE")).status == 404


def test_without_its_files_there_is_no_page(tmp_path: Path) -> None:
    assert page.files(tmp_path) == []


@pytest.mark.parametrize(("path", "is_held"), [("/", True), ("/page/js/main.js", True), ("/health", False)])
def test_the_page_s_paths_are_known(path: str, is_held: bool) -> None:
    assert page.holds(path) is is_held
