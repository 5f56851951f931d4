"""The line parser: one list of cases, each fed whole, byte by byte, and with a tail."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.wire import EventType, encode_progress
from preflight.wire.events import EVENT_KEYS, MAX_LINE_BYTES
from supervisor.progress import MAX_LOG_CHARS, Item, LineParser, LogLine, WireEvent

HELLO = {"wire": 1, "pid": 7, "nonce": "n", "version": "0", "port": 4711}
WARM = {"ms": 12}
HELLO_LINE = encode_progress(EventType.HELLO, HELLO).encode()
WARM_LINE = encode_progress(EventType.WARMED_UP, WARM).encode()
HELLO_EVENT = WireEvent(EventType.HELLO, HELLO)
WARM_EVENT = WireEvent(EventType.WARMED_UP, WARM)


def line(body: object) -> bytes:
    return b"PROGRESS:" + json.dumps(body).encode()


CASES: list[tuple[bytes, list[Item]]] = [
    (b"", []),
    (b"\n\r\n\r \n", []),
    (HELLO_LINE + b"\n", [HELLO_EVENT]),
    (HELLO_LINE + b"\r\n" + WARM_LINE + b"\r", [HELLO_EVENT, WARM_EVENT]),
    (b"log\n" + WARM_LINE + b"\nmore\n", [LogLine("log"), WARM_EVENT, LogLine("more")]),
    (b"caf\xc3\xa9 \xff\xfe\n", [LogLine("caf\u00e9 \ufffd\ufffd")]),
    (b"10%\r20%\r30%\n", [LogLine("10%"), LogLine("20%"), LogLine("30%")]),
    (HELLO_LINE[:30] + WARM_LINE + b"\n", [LogLine(HELLO_LINE[:30].decode()), WARM_EVENT]),
    (b"noise without end " + WARM_LINE + b"\n", [LogLine("noise without end "), WARM_EVENT]),
    (b"PROGRESS:\n", [LogLine("PROGRESS:")]),
    (b"PROGRESS:{\n", [LogLine("PROGRESS:{")]),
    (b"progress:" + WARM_LINE[9:] + b"\n", [LogLine("progress:" + WARM_LINE[9:].decode())]),
]


@pytest.mark.parametrize(("data", "items"), CASES)
def test_whole_bytewise_and_with_a_tail(data: bytes, items: list[Item]) -> None:
    whole = LineParser()
    assert whole.feed(data) + whole.close() == items
    bytewise = LineParser()
    assert [item for byte in data for item in bytewise.feed(bytes([byte]))] + bytewise.close() == items
    tailed = LineParser()
    assert tailed.feed(data) == items
    assert tailed.feed(b"tail") == []
    assert tailed.close() == [LogLine("tail")]


@pytest.mark.parametrize(
    "body",
    [
        {"type": "warmed_up"},
        {"type": "warmed_up", "data": {}},
        {"type": "warmed_up", "data": ["ms"]},
        {"type": "warmed_up", "data": "ms"},
        {"type": "new_kind", "data": {}},
        {"type": ["warmed_up"], "data": WARM},
        {"data": WARM},
        ["warmed_up"],
        None,
        7,
        {"type": "hello", "data": {**HELLO, "port": 0}},
        {"type": "hello", "data": {**HELLO, "port": "80"}},
        {"type": "hello", "data": {**HELLO, "port": True}},
        {"type": "hello", "data": {**HELLO, "nonce": None}},
        {"type": "error", "data": {"code": 5, "message": "", "hint": "", "details": {}}},
        {"type": "download_started", "data": {"model": "m", "bytes_total": -1}},
        {"type": "warmed_up", "data": {"ms": float("nan")}},
    ],
)
def test_what_is_not_a_complete_known_event_is_log(body: object) -> None:
    text = line(body)
    assert LineParser().feed(text + b"\n") == [LogLine(text.decode())]


@pytest.mark.parametrize("body", [b"[" * 60_000, b"9" * 60_000, b'{"a":' * 12_000])
def test_hostile_json_is_log(body: bytes) -> None:
    (item,) = LineParser().feed(b"PROGRESS:" + body + b"\n")
    assert isinstance(item, LogLine)
    assert len(item.text) < MAX_LOG_CHARS + 40


def test_ten_megabytes_on_one_line_are_held_in_bounded_memory_and_counted() -> None:
    parser = LineParser()
    for _ in range(160):
        assert parser.feed(b"x" * 65536) == []
        assert len(parser._held) <= MAX_LINE_BYTES
    assert parser.feed(b"\n" + WARM_LINE + b"\n") == [
        LogLine("x" * MAX_LOG_CHARS + f"... ({160 * 65536} bytes)"),
        WARM_EVENT,
    ]


def test_the_longest_legal_line_is_an_event_and_one_more_byte_is_log() -> None:
    room = MAX_LINE_BYTES - len(encode_progress(EventType.WARMED_UP, {"ms": 1, "pad": ""})) - 1
    fits = encode_progress(EventType.WARMED_UP, {"ms": 1, "pad": "p" * room}).encode()
    (event,) = LineParser().feed(fits + b"\n")
    assert isinstance(event, WireEvent)
    over = fits[:-2] + b'pp"}}\n'
    (log,) = LineParser().feed(over)
    assert isinstance(log, LogLine)


def test_without_events_everything_is_log() -> None:
    assert LineParser(events=False).feed(HELLO_LINE + b"\n \n") == [LogLine(HELLO_LINE.decode())]


@pytest.mark.parametrize("type_", list(EventType))
def test_every_type_is_read_back(type_: EventType) -> None:
    data = dict.fromkeys(EVENT_KEYS[type_], 1) | {
        key: "t" for key in ("model", "nonce", "file", "code", "message") if key in EVENT_KEYS[type_]
    }
    assert LineParser().feed(encode_progress(type_, data).encode() + b"\n") == [WireEvent(type_, data)]


pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([HELLO_LINE, WARM_LINE, HELLO_LINE[:20], b"PROGRESS:", b"\n", b"\r\n", b"\r", b"\xf0\x9f"]),
    st.integers(MAX_LINE_BYTES - 2, MAX_LINE_BYTES + 2).map(lambda n: b"y" * n),
)


@given(st.lists(pieces, max_size=12), st.lists(st.integers(0, 300), max_size=30))
def test_any_chunking_gives_the_same_items(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    whole = LineParser()
    expected = whole.feed(data) + whole.close()
    chunked = LineParser()
    items: list[Item] = []
    at = 0
    for cut in cuts:
        items += chunked.feed(data[at : at + cut])
        at += cut
    items += chunked.feed(data[at:]) + chunked.close()
    assert items == expected
