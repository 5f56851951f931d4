"""HTML pages: what a reader of the page would read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.ingest.readers.base import EXTRA, ReadOptions, Section
from sidecar.ingest.readers.text import encoding_of, wrong_encoding
from sidecar.stores.optional import require

#: Never read by a person.
_DROPPED = ["script", "style", "noscript", "template", "svg", "iframe", "object", "nav", "head"]

#: Elements that stand on lines of their own.
_BLOCKS = frozenset(
    [
        *("address", "article", "aside", "blockquote", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption"),
        *("figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p"),
        *("pre", "section", "summary", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    ]
)

_DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_HEAD_BYTES = 4096


def read_html(path: Path, options: ReadOptions) -> Iterator[Section]:
    """Yield a page as one section, with its title."""
    raw = path.read_bytes()
    declared = _DECLARED.search(raw[:_HEAD_BYTES])
    encoding = encoding_of(path, declared[1].decode("ascii") if declared else options.encoding)
    try:
        text = raw.decode(encoding)
    except UnicodeError as error:
        raise wrong_encoding(path, error) from error
    except LookupError:  # a name that Python does not know
        text = raw.decode(options.encoding, "replace")
    tree = require("selectolax.lexbor", EXTRA).LexborHTMLParser(text)
    title = tree.css_first("title")
    named = " ".join(title.text().split()) if title is not None else ""
    tree.strip_tags(_DROPPED)
    if tree.body is not None:
        content = _text_of(tree.body)
        if content:
            yield Section(content, {"title": named} if named else {})


def _text_of(body: Any) -> str:
    """Return the page's text: white space as a browser shows it, a blank line between blocks."""
    lines: list[str] = []
    words: list[str] = []

    def end_line() -> None:
        line = " ".join("".join(words).split())
        if line:
            lines.append(line)
        words.clear()

    for is_start, node in _walk(body):
        if node.tag in _BLOCKS:
            end_line()
        elif node.tag == "br":
            words.append(" ")
        elif node.tag == "-text" and is_start:
            words.append(node.text_content or "")
    end_line()
    return "\n\n".join(lines)


def _walk(root: Any) -> Iterator[tuple[bool, Any]]:
    """Yield every node when it starts and when it ends, in the page's order; without recursion, however deep."""
    node, down = root, True
    while True:
        yield down, node
        if down and node.child is not None:
            node = node.child
            continue
        if down:
            yield False, node
        if node.mem_id == root.mem_id:
            return
        if node.next is not None:
            node, down = node.next, True
        else:
            node, down = node.parent, False
            if node.mem_id == root.mem_id:
                return
