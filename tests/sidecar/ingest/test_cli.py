"""The commands as a shell runs them."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.ingest import cli
from sidecar.ingest.arguments import add_ingest, wanted_of
from sidecar.ingest.connect import Wanted
from sidecar.ingest.distributed.connecting import Distribution
from sidecar.stores import parse
from tests.sidecar.ingest.servers import sidecar

pytest.importorskip("apsw")
pytest.importorskip("sqlite_vec")

_ROOT = Path(__file__).parents[3]
_PROGRAM = "import sys; from sidecar.ingest.cli import main; sys.exit(main(sys.argv[1:]))"


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def _start(*arguments: str, **environ: str) -> Any:
    return asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, *arguments),
        cwd=_ROOT,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _run(*arguments: str, **environ: str) -> Ended:
    process = await _start(*arguments, **environ)
    stdout, stderr = await process.communicate()
    return Ended(process.returncode, stdout.decode(), stderr.decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sources"
    made.mkdir()
    (made / "a.txt").write_text("One text.\n\nAnother text.")
    (made / "b.txt").write_text("A third one.")
    return made


@pytest.mark.slow
async def test_ingest_and_search_for_people_and_for_programs(folder: Path, tmp_path: Path) -> None:
    async with sidecar() as url:
        where = ("--store", f"sqlite:{tmp_path}/v.db", "--server", url)
        first = await _run("ingest", str(folder), *where, "--base", str(folder))
        assert first.status == 0, first
        assert "2 files read, 0 unchanged" in first.stdout
        assert "100 %" in first.stderr
        assert f"Embedding by {url}" in first.stderr
        (folder / "bad.jsonl").write_text("no json")
        second = await _run("ingest", str(folder), *where, "--base", str(folder), "--json")
        assert second.status == 1
        assert (second.json["ok"], second.json["unchanged"], second.stderr) == (False, 2, "")
        assert second.json["errors"][0]["code"] == "SOURCE_DAMAGED"
        found = await _run("search", "A third one.", *where, "-k", "1", "--json")
        assert found.status == 0
        (hit,) = found.json["hits"]
        assert (hit["id"], hit["text"]) == ("b.txt#0", "A third one.")
        assert hit["score"] == pytest.approx(1, abs=1e-5)
        text = await _run("search", "A third one.", *where, "-k", "1")
        assert text.stdout == "1.0000  b.txt#0\nA third one.\n"


@pytest.mark.slow
async def test_what_goes_wrong_has_a_code_and_a_status(folder: Path, tmp_path: Path) -> None:
    bad = await _run("ingest", str(folder), "--store", "mysql://u:secret@h/d", "--json")
    assert (bad.status, bad.json["error"]["code"]) == (2, "STORE_URL_INVALID")
    assert "secret" not in bad.stdout + bad.stderr
    none = await _run("ingest", str(folder), SIDECAR_STORE="")
    assert none.status == 2
    assert "SIDECAR_STORE" in none.stderr
    gone = await _run(*("search", "x", "--server", "http://127.0.0.1:1"), SIDECAR_STORE=f"sqlite:{tmp_path}/v.db")
    assert gone.status == 1
    assert gone.stderr.startswith("EMBEDDER_UNREACHABLE: ")
    assert "Next step: " in gone.stderr
    usage = await _run("ingest", str(folder), "--chunk-tokens", "none")
    assert usage.status == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
async def test_ctrl_c_ends_it_at_once_and_says_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    (folder / "big.txt").write_text("\n\n".join(f"Paragraph {number}." for number in range(20_000)))
    async with sidecar() as url:
        process = await _start(
            *("ingest", str(folder), "--store", f"sqlite:{tmp_path}/v.db", "--server", url, "--chunk-tokens", "8")
        )
        await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        stderr = (await process.stderr.read()).decode()
        assert await process.wait() == 1
        assert "run this again to go on" in stderr
        assert "Traceback" not in stderr


def test_options_are_described_and_a_key_is_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (cli.INGEST, cli.SEARCH):
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        assert "--store" in text
        assert "--remote-model" in text
        assert "--remote-key" not in text


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((), None),
        (("--distributed", "local"), Distribution("local", 1, None)),
        (
            ("--distributed", "ray://h:10001", "--workers", "2", "--threads", "3"),
            Distribution("ray://h:10001", 2, 3),
        ),
    ],
)
def test_where_workers_are(given: tuple[str, ...], wanted: Distribution | None) -> None:
    assert _wanted(*given).distribution == wanted


@pytest.mark.parametrize("given", [("--server", "http://127.0.0.1:1"), ("--remote-model", "m")])
def test_two_places_that_embed_are_refused(given: tuple[str, ...]) -> None:
    with pytest.raises(Failure) as error:
        _wanted("--distributed", "local", *given)
    assert error.value.code is ErrorCode.INVALID_REQUEST


def _wanted(*given: str) -> Wanted:
    parser = argparse.ArgumentParser()
    add_ingest(parser)
    return wanted_of(parser.parse_args(["source", *given]), parse("sqlite:v.db"), {})
