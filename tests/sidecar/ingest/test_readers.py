from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.readers import Format, ReadOptions, Section, format_of, read, require_for
from sidecar.ingest.readers.base import storable
from sidecar.stores import DependencyMissing
from tests.sidecar.ingest import pdfs


def _read(path: Path, options: ReadOptions = ReadOptions()) -> list[Section]:  # noqa: B008 frozen
    format_ = format_of(path)
    assert format_ is not None
    return list(read(path, format_, options))


def _code(path: Path, options: ReadOptions = ReadOptions()) -> IngestCode:  # noqa: B008 frozen
    with pytest.raises(IngestError) as error:
        _read(path, options)
    code = error.value.code
    assert isinstance(code, IngestCode)
    assert path.name in error.value.message
    return code


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
    ],
)
def test_plain_text_in_any_marked_encoding(tmp_path: Path, encoding: str, mark: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(mark + "naïve 日本".encode(encoding))
    assert _read(path) == [Section("naïve 日本")]


def test_text_of_another_encoding_is_told_and_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("naïve".encode("cp1252"))
    assert _code(path) is IngestCode.SOURCE_ENCODING
    assert _read(path, ReadOptions(encoding="cp1252")) == [Section("naïve")]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.csv", "a.jsonl"])
def test_an_empty_file_has_no_text(tmp_path: Path, name: str) -> None:
    if name.endswith(".html"):
        pytest.importorskip("selectolax")
    (tmp_path / name).write_bytes(b"")
    assert [section for section in _read(tmp_path / name) if section.text] == []


def test_a_large_text_comes_in_sections_cut_at_blank_lines(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {number} " + "x" * 990 for number in range(2500)]
    (tmp_path / "a.txt").write_text("\n\n".join(paragraphs))
    sections = _read(tmp_path / "a.txt")
    assert len(sections) == 3
    assert "\n\n".join(section.text.strip("\n") for section in sections) == "\n\n".join(paragraphs)


def test_markdown_chapters_without_markup(tmp_path: Path) -> None:
    pytest.importorskip("markdown_it")
    (tmp_path / "a.md").write_text(
        "---\nkey: value\n---\nBefore *all*.\n\n# One\n\nA [link](http://x) and `code`.\n\n## Two\n\n"
        "- item\n\n```python\nprint('x')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n# Three\n\n![image](x.png)\n"
    )
    sections = _read(tmp_path / "a.md")
    assert [section.metadata.get("heading") for section in sections] == [None, "One", "One > Two", "Three"]
    assert sections[0].text == "Before all."
    assert sections[1].text == "One\n\nA link and code."
    assert "print('x')" in sections[2].text
    assert "1" in sections[2].text
    assert sections[3].text == "Three\n\nimage"


def test_html_as_a_browser_shows_it(tmp_path: Path) -> None:
    pytest.importorskip("selectolax")
    (tmp_path / "a.html").write_text(
        "<html><head><title> A  title </title><style>p{}</style></head><body><nav>menu</nav><h1>Head</h1>"
        "<p>One <b>bo</b>ld\n word<br>next</p><div>Two<div>Three</div>Four</div><script>x()</script>"
        "<ul><li>a<li>b</ul>&amp; tail"
    )
    (section,) = _read(tmp_path / "a.html")
    assert section.metadata == {"title": "A title"}
    assert section.text.split("\n\n") == ["Head", "One bold word next", "Two", "Three", "Four", "a", "b", "& tail"]


@pytest.mark.parametrize("declared", [b'<meta charset="cp1252">', b'<meta content="text/html; charset=cp1252">'])
def test_html_says_its_encoding(tmp_path: Path, declared: bytes) -> None:
    pytest.importorskip("selectolax")
    (tmp_path / "a.html").write_bytes(declared + b"<body>na\xefve</body>")
    assert _read(tmp_path / "a.html")[0].text == "naïve"


def test_html_as_deep_as_it_likes(tmp_path: Path) -> None:
    pytest.importorskip("selectolax")
    (tmp_path / "a.html").write_text("<body>" + "<i><b>" * 20_000 + "deep")
    assert "deep" in _read(tmp_path / "a.html")[0].text


def test_pdf_pages(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    (tmp_path / "a.pdf").write_bytes(pdfs.pages("First page.", "", "Third page."))
    sections = _read(tmp_path / "a.pdf")
    assert [(section.text.strip(), section.metadata["page"]) for section in sections] == [
        ("First page.", 1),
        ("Third page.", 3),
    ]


def test_damaged_and_encrypted_pdfs_are_told(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    whole = pdfs.pages("Some text.")
    for name, content in {"cut.pdf": whole[:120], "no.pdf": b"hello", "empty.pdf": b""}.items():
        (tmp_path / name).write_bytes(content)
        assert _code(tmp_path / name) is IngestCode.SOURCE_DAMAGED
    (tmp_path / "locked.pdf").write_bytes(pdfs.encrypted("Some text."))
    assert _code(tmp_path / "locked.pdf") is IngestCode.SOURCE_ENCRYPTED


def test_csv_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text,lang\n1,"a, ""quoted""\nline",en\n2,,de\n3,c,\n')
    options = ReadOptions(id_column="id", metadata_columns=("lang",))
    assert _read(path, options) == [
        Section('a, "quoted"\nline', {"lang": "en"}, "1"),
        Section("", {"lang": "de"}, "2"),
        Section("c", {"lang": ""}, "3"),
    ]
    assert _read(path, ReadOptions(text_columns=("lang", "text")))[0].text.startswith("en\na")
    (tmp_path / "a.tsv").write_text("text\tb\nx\ty\n")
    assert _read(tmp_path / "a.tsv") == [Section("x")]


def test_a_csv_field_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "x" * 300_000)
    assert len(_read(tmp_path / "a.csv")[0].text) == 300_000


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"content": "a", "n": 1, "f": 0.5, "b": True, "list": [1], "none": None}, {"content": "b"}]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    (first, second) = _read(path)
    assert (first.text, second.text) == ("a", "b")
    options = ReadOptions(text_columns=("content",), metadata_columns=("n", "f", "b", "list", "none"))
    assert _read(path, options)[0].metadata == {"n": 1, "f": 0.5, "b": True, "list": "[1]"}


@pytest.mark.parametrize("line", ['{"text": 1', '["text"]', "text"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n' + line)
    with pytest.raises(IngestError) as error:
        list(read(path, Format.JSONL, ReadOptions()))
    assert error.value.code is IngestCode.SOURCE_DAMAGED
    assert "line 2" in error.value.message


def test_parquet_columns(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    path = tmp_path / "a.parquet"
    table = arrow.table({"id": [7, 8], "body": ["a", None], "nan": [1.0, float("nan")], "other": ["x", "y"]})
    parquet.write_table(table, path)
    options = ReadOptions(text_columns=("body",), id_column="id", metadata_columns=("nan",))
    assert _read(path, options) == [Section("a", {"nan": 1.0}, "7"), Section("", {"nan": "nan"}, "8")]
    assert [section.text for section in _read(path)] == ["a", ""]
    path.write_bytes(path.read_bytes()[:-20])
    assert _code(path) is IngestCode.SOURCE_DAMAGED


@pytest.mark.parametrize(
    "options", [ReadOptions(text_columns=("nope",)), ReadOptions(), ReadOptions(text_columns=("a",), id_column="nope")]
)
def test_a_column_that_is_not_there_is_named(tmp_path: Path, options: ReadOptions) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    assert _code(path, options) is IngestCode.SOURCE_COLUMN_MISSING


def test_a_row_without_its_name_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n,x\n")
    assert _code(path, ReadOptions(id_column="id")) is IngestCode.SOURCE_DAMAGED


def test_what_no_store_can_hold_is_replaced() -> None:
    assert storable("a\x00b\ud800c🙂") == "a\ufffdb\ufffdc🙂"


def test_missing_packages_are_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    require_for({Format.TEXT, Format.CSV, Format.JSONL})
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DependencyMissing) as error:
        require_for({Format.PDF})
    assert "embedding-sidecar[ingest]" in error.value.hint
