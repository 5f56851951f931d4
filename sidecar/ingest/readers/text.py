"""Plain text and Markdown."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.readers.base import EXTRA, ReadOptions, Section
from sidecar.stores.optional import require

#: Characters of a plain text that are one section; a larger file is cut at a blank line, or at any.
_SECTION_CHARS = 1_000_000

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(path: Path, default: str) -> str:
    """Return the encoding that the file's byte order mark tells, or ``default``."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for mark, name in _MARKS if start.startswith(mark)), default)


def wrong_encoding(path: Path, error: UnicodeError) -> IngestError:
    """Return the error of a file whose bytes are no text in the encoding that was said."""
    return IngestError(
        IngestCode.SOURCE_ENCODING,
        f"{path.name}: {error}"[:300],
        hint="Name its encoding with --encoding, for example --encoding cp1252.",
        details={"path": str(path)},
    )


def read_text(path: Path, options: ReadOptions) -> Iterator[Section]:
    """Yield a plain text in sections of about a million characters."""
    rest = ""
    try:
        with path.open(encoding=encoding_of(path, options.encoding)) as file:
            while block := file.read(_SECTION_CHARS):
                *whole, rest = _cut(rest + block)
                yield from map(Section, whole)
    except UnicodeError as error:
        raise wrong_encoding(path, error) from error
    if rest:
        yield Section(rest)


def _cut(text: str) -> tuple[str, ...]:
    """Return what is a section of ``text``, if it is long enough, and the rest."""
    if len(text) < _SECTION_CHARS:
        return (text,)
    for separator in ("\n\n", "\n", " "):
        at = text.rfind(separator, _SECTION_CHARS // 2)
        if at >= 0:
            return text[:at], text[at:]
    return text, ""


def read_markdown(path: Path, options: ReadOptions) -> Iterator[Section]:
    """Yield the chapters of a Markdown text, without its markup, each with its headings as ``heading``."""
    try:
        text = path.read_text(encoding_of(path, options.encoding))
    except UnicodeError as error:
        raise wrong_encoding(path, error) from error
    parser = require("markdown_it", EXTRA).MarkdownIt("commonmark").enable("table")
    headings: list[str] = []
    blocks: list[str] = []
    tokens = parser.parse(_without_front_matter(text))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            if blocks:
                yield _chapter(headings, blocks)
            level = int(before.tag[1:])
            headings = [*headings[: level - 1], _plain(token)]
            blocks = [headings[-1]]
        elif token.type == "inline":
            blocks.append(_plain(token))
        elif token.type in {"fence", "code_block"}:
            blocks.append(token.content.rstrip())
    if blocks:
        yield _chapter(headings, blocks)


def _chapter(headings: list[str], blocks: list[str]) -> Section:
    named = " > ".join(filter(None, headings))
    return Section("\n\n".join(blocks), {"heading": named} if named else {})


def _plain(inline: Any) -> str:
    """Return the text of an inline token: of links their words, of images their description."""
    parts = []
    for child in inline.children or ():
        if child.type in {"softbreak", "hardbreak"}:
            parts.append("\n")
        elif child.type != "html_inline":
            parts.append(child.content)
    return "".join(parts)


def _without_front_matter(text: str) -> str:
    """Drop a leading block between lines of three dashes, which other programs read."""
    if not text.startswith("---\n"):
        return text
    _, separator, rest = text[4:].partition("\n---\n")
    return rest if separator else text
