"""Where sentences end, in any script. Pure.

Good enough to cut chunks at, with no model and no language given: a wrong cut
costs a little context, never a character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Closing quotes and brackets that belong to the sentence before them.
_CLOSING = r"[\"'”’»›)\]}」』】〉》]*"

#: A blank line; the start of a list item or heading; a terminator of a script that writes no spaces; a terminator
#: and white space. Terminators are Unicode's Sentence_Terminal characters of the larger scripts.
_BOUNDARY = re.compile(
    rf"(?P<paragraph>\n[ \t\r]*\n\s*)"
    rf"|(?P<item>\n(?=[ \t]*(?:[-*+•‣–]|\d{{1,3}}[.)]|#{{1,6}})[ \t]))"
    rf"|(?P<wide>[。！？｡]{_CLOSING}\s*)"
    rf"|(?P<plain>[.!?…؟۔।॥։።၊။។៕‼⁇⁈⁉]+{_CLOSING}\s+)"
)

#: Words before a full stop that seldom end a sentence.
_WORDS = """
al approx bd bzw ca capt cf co col corp dept dr ed eds eg eq etc fig figs gen gov hon ie inc jr lt ltd maj mr mrs ms
nos nr pp prof rep rev sen sgt sr st usw vgl vol vs z.b d.h e.g i.e u.a a.m p.m
"""
_ABBREVIATIONS = frozenset(_WORDS.split())

_LAST_WORD = re.compile(r"([^\W_](?:[^\W_]|\.(?=\w))*)\.$")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the sentences of ``text`` as (start, end); together they cover it, white space included."""
    start = 0
    for match in _BOUNDARY.finditer(text):
        if match["plain"] and not _ends_sentence(text, start, match):
            continue
        if match.end() > start:
            yield start, match.end()
            start = match.end()
    if start < len(text):
        yield start, len(text)


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    """Tell whether a terminator and white space end a sentence: not in "Dr. Who", "J. S. Bach", "e.g. so"."""
    if match.end() == len(text):
        return True
    following = text[match.end()]
    if following.islower():
        return False
    if text[match.start()] != "." or not match["plain"][1:2].isspace():
        return True  # an ellipsis, or a quotation that is closed
    word = _LAST_WORD.search(text, max(start, match.start() - 24), match.start() + 1)
    if word is None:
        return True
    is_initial = len(word[1]) == 1 and word[1].isupper()
    return not is_initial and word[1].lower() not in _ABBREVIATIONS
