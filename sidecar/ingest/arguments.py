"""The options of ``ingest`` and ``search``, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from preflight.wire import ErrorCode, cpus
from preflight.wire.environment import TOKEN
from preflight.wire.models import DEFAULT_MODEL
from sidecar.engines import remote
from sidecar.failures import Failure
from sidecar.ingest.connect import AUTO, NONE, Wanted
from sidecar.ingest.distributed.connecting import Distribution
from sidecar.ingest.embedders import PATIENCE_S
from sidecar.ingest.readers import ReadOptions
from sidecar.ingest.run import Job
from sidecar.options import EngineName, Options, Precision
from sidecar.stores import IndexKind, IndexOptions, Kind, StoreUrl

#: Where the address of a store is told, so that a password in it is not on a command line.
STORE_VARIABLE = "SIDECAR_STORE"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what both commands take: the store and the model."""
    parser.add_argument(
        "--store",
        metavar="URL",
        help="sqlite:FILE, postgresql://USER@HOST/DATABASE, chroma:FOLDER or chroma+http://HOST:PORT, each with "
        f"?table=NAME if need be (default: the environment variable {STORE_VARIABLE})",
    )
    parser.add_argument(
        "--server",
        metavar=f"URL|{AUTO}|{NONE}",
        default=AUTO,
        help="who embeds: a running supervisor or sidecar, or this process (default: the server at the usual port "
        "if there is one)",
    )
    parser.add_argument("--model", metavar="ID|DIR|embedded", help=f"the model (default: {DEFAULT_MODEL})")
    parser.add_argument("--engine", choices=[*EngineName], default=EngineName.AUTO, type=EngineName)
    parser.add_argument("--precision", choices=[*Precision], default=Precision.F32, type=Precision)
    parser.add_argument("--device", default="auto", help="where the model of this process runs")
    parser.add_argument("--threads", type=_at_least(1), metavar="N", help="threads of the engine of this process")
    parser.add_argument("--offline", action="store_true", help="never use the network for models")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    remote.add_arguments(parser)


def add_ingest(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ingest``."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="file, or folder with everything under it")
    add_common(parser)
    parser.add_argument(
        "--distributed",
        metavar="local|ADDRESS",
        help="embed on the nodes of a Ray cluster (ray://HOST:10001, HOST:6379 or auto), or in workers of this machine",
    )
    parser.add_argument("--workers", type=_at_least(1), default=1, metavar="N", help="workers a node (default: 1)")
    parser.add_argument("--base", type=Path, metavar="DIR", help="name sources from here instead of absolutely")
    parser.add_argument("--replace", action="store_true", help="replace all rows of the table, in one transaction")
    parser.add_argument("--sync", action="store_true", help="remove rows of files that are gone from the sources")
    parser.add_argument("--chunk-tokens", type=_at_least(1), metavar="N", help="most tokens of a chunk")
    parser.add_argument("--overlap-tokens", type=_at_least(0), metavar="N", help="most tokens that chunks share")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="folder with the tokenizer of a server's model")
    parser.add_argument("--encoding", default="utf-8", help="of text, CSV and HTML that do not tell (default: utf-8)")
    parser.add_argument("--text-column", action="append", default=[], metavar="NAME", help="of tables; repeatable")
    parser.add_argument("--id-column", metavar="NAME", help="of tables: names a row, whatever its place")
    parser.add_argument("--metadata-column", action="append", default=[], metavar="NAME", help="kept beside the text")
    parser.add_argument("--index", choices=[*IndexKind], type=IndexKind, help="build this index at the end")
    parser.add_argument("--index-m", type=_at_least(2), metavar="N", help="HNSW: links of a node")
    parser.add_argument("--index-ef-construction", type=_at_least(4), metavar="N", help="HNSW: candidates for a link")
    parser.add_argument("--index-lists", type=_at_least(1), metavar="N", help="IVFFlat: number of lists")
    parser.add_argument("--index-memory-mb", type=_at_least(1), metavar="N", help="memory for building the index")
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=PATIENCE_S,
        metavar="SECONDS",
        help=f"how long the server may be away before the run ends (default: {PATIENCE_S:.0f})",
    )


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``search``."""
    parser.add_argument("query", metavar="QUERY")
    add_common(parser)
    parser.add_argument("-k", type=_at_least(1), default=10, metavar="N", help="number of results (default: 10)")
    parser.add_argument("--exact", action="store_true", help="compare with every row, whatever index there is")


def wanted_of(given: argparse.Namespace, store: StoreUrl, environ: Mapping[str, str]) -> Wanted:
    """Return which model the options mean, and where. Raises ``Failure`` for a remote model that cannot be meant."""
    if given.engine is EngineName.REMOTE and given.remote_model is None:
        raise Failure(
            ErrorCode.INVALID_REQUEST,
            "--engine remote: wanted --remote-model beside it, found none.",
            hint="Name the provider's model.",
        )
    options = Options(
        model=given.model or DEFAULT_MODEL,
        engine=given.engine,
        precision=given.precision,
        device=given.device,
        threads=given.threads or cpus.usable_cores(),
        offline=given.offline,
    )
    return Wanted(
        server=given.server,
        token=environ.get(TOKEN) or None,
        options=options,
        model_named=given.model is not None,
        tokenizer=getattr(given, "tokenizer", None),
        apart=store.kind in {Kind.CHROMA, Kind.CHROMA_HTTP},
        remote=remote.options_of(given),
        environ=environ,
        distribution=_distribution_of(given),
    )


def _distribution_of(given: argparse.Namespace) -> Distribution | None:
    """Raises ``Failure`` where two different things are said to embed."""
    address = getattr(given, "distributed", None)
    if address is None:
        return None
    if given.remote_model is not None or given.server not in {AUTO, NONE}:
        raise Failure(
            ErrorCode.INVALID_REQUEST,
            "--distributed: wanted one place that embeds, found --server or --remote-model beside it.",
            hint="Leave one of them out.",
        )
    return Distribution(address, given.workers, given.threads)


def job_of(given: argparse.Namespace) -> Job:
    """Return what the options of ``ingest`` ask for."""
    index = None
    if given.index is not None:
        index = IndexOptions(
            given.index, given.index_m, given.index_ef_construction, given.index_lists, given.index_memory_mb
        )
    return Job(
        sources=tuple(given.sources),
        base=given.base,
        read=ReadOptions(
            encoding=given.encoding,
            text_columns=tuple(given.text_column),
            id_column=given.id_column,
            metadata_columns=tuple(given.metadata_column),
        ),
        chunk_tokens=given.chunk_tokens,
        overlap_tokens=given.overlap_tokens,
        replace=given.replace,
        sync=given.sync,
        index=index,
        patience_s=given.patience,
    )


def _at_least(low: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"wanted a whole number of at least {low}, found {text[:100]!r}")
        return value

    return read


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"wanted seconds, found {text[:100]!r}")
    return value
