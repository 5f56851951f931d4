from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sidecar.ingest import isolation
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.isolation import ReaderProcess
from sidecar.ingest.readers import Format, ReadOptions
from tests.sidecar.ingest import pdfs

OPTIONS = ReadOptions()


@pytest.fixture
def reader() -> Iterator[ReaderProcess]:
    pytest.importorskip("pypdf")
    pytest.importorskip("selectolax")
    made = ReaderProcess()
    yield made
    made.close()


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def _pdf(folder: Path, *texts: str) -> Path:
    path = folder / "a.pdf"
    path.write_bytes(pdfs.pages(*texts))
    return path


def test_sections_come_from_a_process_of_their_own_that_ends(reader: ReaderProcess, tmp_path: Path) -> None:
    before = _children()
    page = tmp_path / "ü.html"
    page.write_bytes("<title>T</title><p>naïve".encode("cp1252"))
    assert [s.text.strip() for s in reader.read(_pdf(tmp_path, "One", "Two"), Format.PDF, OPTIONS)] == ["One", "Two"]
    (section,) = reader.read(page, Format.HTML, ReadOptions(encoding="cp1252"))
    assert (section.text, section.metadata, section.key) == ("naïve", {"title": "T"}, None)
    assert len(_children() - before) == 1
    reader.close()
    assert _children() == before


def test_errors_keep_their_codes_and_the_process_goes_on(reader: ReaderProcess, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pdf"
    bad.write_bytes(b"no pdf")
    for path, code in ((bad, IngestCode.SOURCE_DAMAGED), (tmp_path / "gone.pdf", IngestCode.SOURCE_NOT_FOUND)):
        with pytest.raises(IngestError) as error:
            list(reader.read(path, Format.PDF, OPTIONS))
        assert error.value.code is code
        assert error.value.details["path"] == str(path)
    assert len(list(reader.read(_pdf(tmp_path, "One"), Format.PDF, OPTIONS))) == 1


def test_a_crash_is_told_and_the_next_file_is_read(reader: ReaderProcess, tmp_path: Path) -> None:
    path = _pdf(tmp_path, *("A page of many words. " * 100,) * 40)  # more than a pipe holds
    sections = reader.read(path, Format.PDF, OPTIONS)
    next(sections)
    (pid,) = [child for child in _children() if "isolation" in " ".join(psutil.Process(child).cmdline())]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(IngestError) as error:
        list(sections)  # what was under way in the pipe may still come
    assert error.value.code is IngestCode.SOURCE_READER_CRASHED
    assert len(list(reader.read(path, Format.PDF, OPTIONS))) == 40


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a signal that stops")
def test_a_reader_that_hangs_is_ended(tmp_path: Path) -> None:
    pytest.importorskip("pypdf")
    reader = ReaderProcess(silence_s=0.2)
    path = _pdf(tmp_path, "One")
    reader._process = isolation._start()
    os.kill(reader._process.pid, signal.SIGSTOP)
    with pytest.raises(IngestError) as error:
        list(reader.read(path, Format.PDF, OPTIONS))
    assert error.value.code is IngestCode.SOURCE_READ_TIMEOUT
    reader.close()


def test_a_file_that_is_given_up_half_way_disturbs_nobody(reader: ReaderProcess, tmp_path: Path) -> None:
    sections = reader.read(_pdf(tmp_path, *("Page",) * 50), Format.PDF, OPTIONS)
    next(sections)
    del sections
    other = tmp_path / "b.html"
    other.write_text("<p>other")
    assert [section.text for section in reader.read(other, Format.HTML, OPTIONS)] == ["other"]
