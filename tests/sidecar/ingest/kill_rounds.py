"""Kill an ingest at random moments, let it go on, and compare with a run that nobody disturbed.

    python -m tests.sidecar.ingest.kill_rounds --rounds 50 --store all --chunks 5000 --seed 1

Each round fills a new store: one to three runs are killed with SIGKILL, some of
them before they made their table, and the next may end. Rows, vectors and ledger must then be those of the undisturbed
run. A replacement is killed likewise: until it is whole, the old rows are.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.stores import Kind, StoreUrl, open_store, parse
from tests.sidecar.stores.dump import Dump, dump
from tests.sidecar.stores.servers import postgres_address

_ROOT = Path(__file__).parents[3]
_TIMEOUT_S = 300
_TABLES = itertools.count()

#: Share of the kills that come while a run still starts, connects and makes its table.
_EARLY = 0.15


@dataclass
class Outcome:
    """What the rounds of one store came to."""

    rounds: int = 0
    kills: int = 0
    #: Rows that were there when a run was killed: how far they got.
    rows_at_kill: list[int] = field(default_factory=list)
    replacements_killed: int = 0
    #: Replacements that were whole before the kill came.
    replacements_whole: int = 0
    wrong: list[str] = field(default_factory=list)


def write_sources(folder: Path, chunks: int, word: str) -> None:
    """Write files that are cut into ``chunks`` chunks: one of a third of them, the others of 1 to 60."""
    randomness = random.Random(chunks)
    left, number = chunks, 0
    while left:
        count = min(left, chunks // 3 if number == 0 else randomness.randint(1, 60))
        path = folder / f"{number % 7}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(f"{word} {number} {index} " + "abc " * 11 + "end." for index in range(count)))
        left, number = left - count, number + 1


class Rounds:
    """The rounds of one kind of store, in a folder of its own."""

    def __init__(
        self,
        kind: Kind,
        work: Path,
        server: str | None,
        *,
        chunks: int,
        seed: int,
        batch_rows: int,
        most_kills: int = 3,
    ) -> None:
        """``server``: PostgreSQL's address. ``most_kills``: runs killed before one may end."""
        self._kind = kind
        self._work = work
        self._server = server
        self._batch_rows = batch_rows
        self._most_kills = most_kills
        self._random = random.Random(seed)
        self.old, self.new = work / "old", work / "new"
        write_sources(self.old, chunks, "Old")
        write_sources(self.new, max(1, chunks // 2), "New")
        self.outcome = Outcome()
        url = self.fresh()
        self._seconds = self._undisturbed(url, self.old)
        self._wanted_old = dump(url)
        self._replace_seconds = self._undisturbed(url, self.new, "--replace")
        self._wanted_new = dump(url)
        assert len(self._wanted_old.rows) == chunks, len(self._wanted_old.rows)

    def fresh(self) -> StoreUrl:
        """Return the address of a store that nobody used."""
        number = next(_TABLES)
        if self._kind is Kind.POSTGRES:
            return parse(f"{self._server}&table=kill_{number}")
        suffix = ".db" if self._kind is Kind.SQLITE else ""
        return parse(f"{self._kind.value}:{self._work}/store{number}{suffix}")

    def run(self) -> None:
        """Carry out one round."""
        url = self.fresh()
        for _ in range(self._random.randint(1, self._most_kills)):
            if self._killed(url, self.old, self._seconds * self._random.random()):
                self.outcome.kills += 1
                self.outcome.rows_at_kill.append(self._check_part(url))
        self._undisturbed(url, self.old)
        self._expect(dump(url), self._wanted_old, "after going on")
        if self._killed(url, self.new, self._replace_seconds * self._random.random(), "--replace"):
            self.outcome.replacements_killed += 1
        found = dump(url)
        if found == self._wanted_new:
            self.outcome.replacements_whole += 1
        else:
            self._expect(found, self._wanted_old, "after a killed replacement")
        self._undisturbed(url, self.new, "--replace")
        self._expect(dump(url), self._wanted_new, "after the replacement")
        self.outcome.rounds += 1
        if self._kind is not Kind.POSTGRES:
            for path in self._work.glob(f"{Path(url.location).name}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _command(self, url: StoreUrl, folder: Path, *more: str) -> list[str]:
        address = url.location if url.kind is Kind.POSTGRES else f"{url.kind.value}:{url.location}"
        address += ("&" if "?" in address else "?") + f"table={url.table}"
        module = "tests.sidecar.ingest.kill_child"
        return [sys.executable, "-m", module, address, str(folder), str(self._batch_rows), *more]

    def _undisturbed(self, url: StoreUrl, folder: Path, *more: str) -> float:
        """Run to the end; return the seconds from its first file to its last transaction."""
        process = self._start(url, folder, *more)
        began = time.monotonic()
        assert process.stdout is not None
        assert process.stdout.readline() == b"ended\n"
        seconds = time.monotonic() - began
        assert process.wait(_TIMEOUT_S) == 0
        process.stdout.close()
        return seconds

    def _killed(self, url: StoreUrl, folder: Path, after_s: float, *more: str) -> bool:
        """Run and kill after ``after_s``; return whether there was still something to kill."""
        is_early = self._random.random() < _EARLY
        process = self._start(url, folder, *more, wait=not is_early)
        assert process.stdout is not None
        try:
            process.wait(self._random.random() * self._start_seconds if is_early else after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
        finally:
            process.stdout.close()
        assert process.returncode == 0
        return False

    def _start(self, url: StoreUrl, folder: Path, *more: str, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start a run; ``wait``: until its table is there and its first file is read."""
        began = time.monotonic()
        process = subprocess.Popen(self._command(url, folder, *more), cwd=_ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        if wait:
            assert process.stdout.readline() == b"begun\n"
            self._start_seconds = time.monotonic() - began
        return process

    def _check_part(self, url: StoreUrl) -> int:
        """What a killed run left: every row right, every source that is told whole indeed whole."""
        if not _has_table(url):
            return 0
        found = dump(url)
        for id_, row in found.rows.items():
            if row != self._wanted_old.rows.get(id_):
                self.outcome.wrong.append(f"{id_} differs after a kill")
            if row.source not in found.ledger:
                self.outcome.wrong.append(f"{id_} has no ledger line after a kill")
        for source, (_, chunks) in found.ledger.items():
            there = sum(row.source == source for row in found.rows.values())
            if chunks is not None and chunks != there:
                self.outcome.wrong.append(f"{source}: told whole with {chunks} rows, {there} are there")
        return len(found.rows)

    def _expect(self, found: Dump, wanted: Dump, when: str) -> None:
        if found == wanted:
            return
        lost, more = wanted.rows.keys() - found.rows.keys(), found.rows.keys() - wanted.rows.keys()
        differ = [id_ for id_ in found.rows.keys() & wanted.rows.keys() if found.rows[id_] != wanted.rows[id_]]
        self.outcome.wrong.append(
            f"{when}: {len(lost)} lost, {len(more)} too many, {len(differ)} differ, or the ledger"
        )


def _has_table(url: StoreUrl) -> bool:
    store = open_store(url)
    try:
        return store.space() is not None
    finally:
        store.close()


def main() -> int:
    """Run the rounds that the command line asks for; 1 when anything was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = [Kind.SQLITE.value, Kind.POSTGRES.value, Kind.CHROMA.value]
    parser.add_argument("--store", choices=[*kinds, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--chunks", type=int, default=5000)
    parser.add_argument("--batch-rows", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    wrong = 0
    for kind in map(Kind, kinds if given.store == "all" else [given.store]):
        began = time.monotonic()
        outcome = _rounds(kind, given)
        wrong += len(outcome.wrong)
        at = sorted(outcome.rows_at_kill) or [0]
        print(
            f"{kind.value}: {outcome.rounds} rounds of {given.chunks} chunks, {outcome.kills} runs killed with "
            f"{at[0]} / {at[len(at) // 2]} / {at[-1]} rows written (least / median / most), "
            f"{outcome.replacements_killed} replacements killed ({outcome.replacements_whole} were whole): "
            f"{len(outcome.wrong)} wrong, {time.monotonic() - began:.0f} s"
        )
        for line in outcome.wrong[:20]:
            print(f"    {line}")
    return 1 if wrong else 0


def _rounds(kind: Kind, given: argparse.Namespace) -> Outcome:
    sizes = {"chunks": given.chunks, "seed": given.seed, "batch_rows": given.batch_rows}
    with tempfile.TemporaryDirectory(prefix="kill-rounds-") as work, ExitStack() as stack:
        server = stack.enter_context(postgres_address()) if kind is Kind.POSTGRES else None
        return _carry_out(Rounds(kind, Path(work), server, **sizes), given)


def _carry_out(rounds: Rounds, given: argparse.Namespace) -> Outcome:
    for number in range(given.rounds):
        rounds.run()
        print(f"round {number + 1} of {given.rounds}: {len(rounds.outcome.wrong)} wrong", file=sys.stderr)
    return rounds.outcome


if __name__ == "__main__":
    sys.exit(main())
