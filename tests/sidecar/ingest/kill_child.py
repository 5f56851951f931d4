"""The process that ``kill_rounds`` kills: one run with the fake engine behind the real scheduler.

    python -m tests.sidecar.ingest.kill_child STORE FOLDER BATCH_ROWS [--replace]

Prints a line once the run has begun, and one once all is written.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sidecar.ingest import pipeline
from sidecar.ingest.report import Report
from sidecar.ingest.run import Job, ingest, opened
from sidecar.stores import parse
from tests.sidecar.ingest.fakes import scheduled


def _begun(_: Report) -> None:
    print("begun", flush=True)


async def _main(store_url: str, folder: str, replace: bool) -> None:
    made = scheduled()
    job = Job((folder,), base=Path(folder), chunk_tokens=24, overlap_tokens=0, replace=replace, sync=not replace)
    try:
        async with opened(parse(store_url)) as (store, thread):
            report = await ingest(job, made, store, thread, _begun)
            print("ended", flush=True)
    finally:
        await made.close()
    assert not report.codes, report.as_dict()


if __name__ == "__main__":
    pipeline.BATCH_ROWS = int(sys.argv[3])
    asyncio.run(_main(sys.argv[1], sys.argv[2], "--replace" in sys.argv))
