"""Texts by which two engines are compared: many scripts, every length, and what breaks tokenizers.

Golden vectors belong to these very texts in this order: a change here needs
``python -m sidecar.prepare.golden`` to be run again.
"""

from __future__ import annotations

import hashlib

_SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Der schnelle braune Fuchs springt über den faulen Hund; Größe, Straße, Übermaß.",
    "Portez ce vieux whisky au juge blond qui fume, déjà naïf à Noël.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "敏捷的棕色狐狸跳过了懒狗。今天的天气很好，我们去公园散步吧。",
    "いろはにほへと ちりぬるを。東京タワーは高さ三百三十三メートルです。",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה.",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले विष्णु।",
    "นายสังฆภัณฑ์ เฮงพิทักษ์ฝั่ง ผู้เฒ่าซึ่งมีอาชีพเป็นฅนขายฃวด",
    "Pijamalı hasta yağız şoföre çabucak güvendi; İstanbul'da ılık bir gün.",
    "Zażółć gęślą jaźń, pchnąć w tę łódź jeża lub ośm skrzyń fig.",
    "Tôi có thể ăn thủy tinh mà không hại gì đến bản thân.",
)

_ODD = (
    "",
    " ",
    "a",
    "\n",
    "🙂",
    "👩‍👩‍👧‍👦 family 🇩🇪 flag",
    "tab\tand\r\nline\nends",
    "ALL CAPITALS",
    "12345 67.89e-10 0x7fff",
    "https://example.org/path?query=1&other=%20#fragment",
    "def f(x: int) -> list[str]:\n    return [str(i) for i in range(x)]",
    '{"key": [1, 2.5, null], "nested": {"a": "b"}}',
    "e\u0301 and é, ﬁ and fi, Ａ and A",
    "zero\u200bwidth and\u00a0hard spaces",
    "[CLS] [SEP] [PAD] [MASK] <s> </s> <pad> <mask> <unk>",
    "!!! ??? ... --- ***",
    "don't can't won't it's",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "x" * 120,
    "\x00\x01\x02 control \x7f characters",
)

_QUERIES = (
    "what is a vector database",
    "how to reset a password",
    "weather tomorrow",
    "best pizza nearby",
    "error: connection refused",
    "wie spät ist es",
    "capital of Australia",
    "invoice 2024-117 overdue",
)

_PROSE = (
    "time person year way day thing man world life hand part child eye woman place work week case point government "
    "company number group problem fact be have do say get make go know take see come think look want give use find "
    "tell ask seem feel try leave call good new first last long great little own other old right big high different"
)

#: Words of the texts that are long, the longest beyond what any encoder takes.
_LENGTHS = (12, 14, 15, 16, 17, 20, 24, 30, 31, 32, 33, 40, 48, 62, 64, 66, 90, 125, 128, 200, 700)


def probe_texts() -> tuple[str, ...]:
    """Return the texts, at least 64 of them, always the same."""
    long = tuple(_words(number, count) for number, count in enumerate(_LENGTHS))
    return _ODD + _QUERIES + _SENTENCES + long


def texts_digest() -> str:
    """Return a hash by which vectors are known to belong to these texts."""
    return hashlib.sha256("\0".join(probe_texts()).encode("utf-8")).hexdigest()


def _words(number: int, count: int) -> str:
    """``count`` words in an order that differs by ``number``."""
    words, step = _PROSE.split(), 2 * number + 1
    return " ".join(words[(number + place * step) % len(words)] for place in range(count)) + "."
