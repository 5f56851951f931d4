"""Fetching a model from the Hugging Face hub into its cache, with progress."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from preflight.wire import ErrorCode, EventType
from sidecar.failures import Failure
from sidecar.models.cache import REVISION, snapshot_of
from sidecar.models.integrity import is_intact
from sidecar.models.resuming import DamagedError, StalledError, fetch_content

log = logging.getLogger(__name__)

Report = Callable[[EventType, Mapping[str, Any]], None]

#: Only these are fetched: nothing that is code, a pickle or another runtime's copy of the weights.
_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors", "README.md")
_SKIPPED_FOLDERS = ("onnx", "openvino", "runs", "eval", ".eval_results", "original")
#: Copies of the weights in another precision, beside ``model.safetensors``.
_WEIGHTS = "model.safetensors"
_OPENVINO_PATTERNS = ("openvino/openvino_model.xml", "openvino/openvino_model.bin")

#: Over how long the rate is taken: long enough to be steady, short enough to show a stall.
_RATE_WINDOW_S = 5.0

#: Fewer bytes in so many seconds are a stall: whole seconds without a byte are the library's own business.
_STALL_BYTES = 256 * 1024
_STALL_S = 60.0

#: A longer gap between two reads is the machine's sleep: the library gives up on a silent connection after 10 s.
_LONGEST_GAP_S = 15.0

#: Bytes that the library reads at a time. Its own 10 MB would hide a slow download for minutes.
_CHUNK_BYTES = 16 * 1024

#: Files from this size on are worth going on with where they broke off.
_LARGE_BYTES = 256 * 1024

#: Kept free beside the model itself.
_SPARE_BYTES = 256 * 1024 * 1024


class RemoteFile(NamedTuple):
    """A file of the repository; ``size`` in bytes, None where the hub does not say."""

    name: str
    size: int | None


def wanted_files(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return what of a repository is needed to serve the model, smallest first.

    Weights come once: the whole file or the shards of the index; prepared
    OpenVINO models only where there are no weights in safetensors.
    """
    everything = list(files)
    names = {file.name for file in everything}
    chosen = [file for file in everything if _is_wanted(file.name, names)]
    if not any(file.name.endswith(".safetensors") for file in chosen):
        chosen += [file for file in everything if file.name in _OPENVINO_PATTERNS]
    return sorted(chosen, key=lambda file: (file.size or 0, file.name))


def _is_wanted(name: str, names: set[str]) -> bool:
    folder, _, base = name.rpartition("/")
    if folder.partition("/")[0] in _SKIPPED_FOLDERS or not any(fnmatch(base, pattern) for pattern in _PATTERNS):
        return False
    if not base.endswith(".safetensors") or base == _WEIGHTS:
        return True
    is_single = (f"{folder}/" if folder else "") + _WEIGHTS in names
    return not is_single and fnmatch(base, "model-*-of-*.safetensors")


class Tally:
    """Counts the bytes of a whole download and reports them. ``clock`` in seconds."""

    def __init__(self, model: str, total: int | None, report: Report, clock: Callable[[], float]) -> None:
        self._model = model
        self._total = total
        self._report = report
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded = 0
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])
        #: How many bytes there were when the last good many had come, and the seconds waited since.
        self._mark = 0
        self._waited = 0.0
        self._told_at = clock()

    def add(self, file: str, count: int) -> None:
        """Note ``count`` more bytes of ``file``; negative when the library starts the file again."""
        with self._lock:
            self._loaded = max(0, self._loaded + count)
            now = self._clock()
            self._samples.append((now, self._loaded))
            while len(self._samples) > 2 and self._samples[0][0] < now - _RATE_WINDOW_S:
                self._samples.popleft()
            (since, before) = self._samples[0]
            rate = (self._loaded - before) / (now - since) if now > since else 0
            self._require_progress(now)
            self._report(
                EventType.DOWNLOAD_PROGRESS,
                {
                    "model": self._model,
                    "file": file,
                    "loaded": self._loaded,
                    "total": self._total,
                    "bytes_per_second": max(0, round(rate)),
                },
            )

    def _require_progress(self, now: float) -> None:
        """Raise ``StalledError`` when bytes still drip, and a start that waits for them would wait for ever."""
        self._waited += min(now - self._told_at, _LONGEST_GAP_S)
        self._told_at = now
        got = self._loaded - self._mark
        if got >= _STALL_BYTES or got < 0:
            self._mark, self._waited = self._loaded, 0.0
        elif self._waited > _STALL_S:
            raise StalledError(f"wanted {_STALL_BYTES:,} bytes in {_STALL_S:.0f} s, found {got:,}")


def download(repository: str, cache: Path, report: Report, *, anew: frozenset[str] = frozenset()) -> None:
    """Fetch what ``cache`` lacks of ``repository`` (``ORG/NAME``); blocks.

    ``anew``: files that are there but damaged. ``report`` hears of the start,
    and of the bytes of the whole model as they come. Raises ``Failure``:
    MODEL_NOT_FOUND, MODEL_DOWNLOAD_FAILED, DISK_SPACE_LOW.
    """
    import huggingface_hub
    from huggingface_hub import constants

    constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    try:
        info = huggingface_hub.HfApi().model_info(repository, revision=REVISION, files_metadata=True)
        files = wanted_files(RemoteFile(one.rfilename, one.size) for one in info.siblings or ())
        there = snapshot_of(repository, cache)
        _require_space(repository, [file for file in files if not (there and (there / file.name).exists())], cache)
        total = sum(file.size for file in files if file.size) or None
        report(EventType.DOWNLOAD_STARTED, {"model": repository, "bytes_total": total})
        tally = Tally(repository, total, report, time.monotonic)
        for file in files:
            if there and file.name in anew:  # the library replaces the content, not a damaged file in its place
                (there / file.name).unlink(missing_ok=True)
            _fetch(repository, file, cache, tally, force=file.name in anew)
    except Exception as error:
        raise _failure(repository, error) from error


def _fetch(repository: str, file: RemoteFile, cache: Path, tally: Tally, *, force: bool) -> None:
    from huggingface_hub import hf_hub_download

    counted = 0

    def count(number: int) -> None:
        nonlocal counted
        counted += number
        tally.add(file.name, number)

    if (file.size or 0) >= _LARGE_BYTES and not force:
        fetch_content(repository, file.name, cache, _bar_class, count)
    path = hf_hub_download(
        repository,
        file.name,
        revision=REVISION,
        cache_dir=cache,
        force_download=force,
        tqdm_class=_bar_class(count),
    )
    if counted and is_intact(Path(path)) is False:
        _throw_away(Path(path))
        raise DamagedError(f"{file.name} came with another content than the hub has")
    if file.size and counted < file.size:  # it was in the cache already
        tally.add(file.name, file.size - counted)


def _throw_away(path: Path) -> None:
    """Remove a file of a snapshot and the content behind it: what is there would not be fetched again."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _bar_class(count: Callable[[int], None]) -> Any:
    """Return a class that the library makes progress bars of; ours pass the bytes on and draw nothing."""

    class Bar:
        def __init__(self, *_: Any, total: int | None = None, initial: int = 0, **__: Any) -> None:
            self.total = total
            self.n = initial

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def update(self, number: float | None = 1) -> None:
            self.n += int(number or 0)
            count(int(number or 0))

        def update_transfer(self, number: float | None = 1) -> None:
            """Bytes on the network: fewer than those of the file when it is deduplicated, so not counted."""

        def set_postfix_str(self, *_: Any, **__: Any) -> None:
            """The rate, which we take ourselves."""

        set_transfer_postfix_str = set_postfix_str

        def refresh(self, *_: Any, **__: Any) -> None:
            """Nothing is drawn."""

        def close(self) -> None:
            """Nothing is held."""

    return Bar


def _require_space(repository: str, files: Iterable[RemoteFile], cache: Path) -> None:
    needed = sum(file.size or 0 for file in files) + _SPARE_BYTES
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise Failure(
            ErrorCode.DISK_SPACE_LOW,
            f"Model {repository!r}: wanted {needed:,} free bytes in {there}, found {free:,}.",
            hint="Free some space, or set HF_HOME to a folder on another disk.",
            details={"path": str(there), "wanted": needed, "found": free},
        )


def _failure(repository: str, error: Exception) -> Failure:
    """Translate what the library raises; it keeps the original as its cause."""
    from huggingface_hub import errors

    if isinstance(error, Failure):
        return error
    details = {"wanted": repository, "found": f"{type(error).__name__}: {error}"[:2000]}
    if isinstance(error, errors.GatedRepoError):
        return Failure(
            ErrorCode.MODEL_NOT_FOUND,
            f"Model {repository!r} is behind an agreement that this account has not accepted.",
            hint="Accept it on the model's page and set HF_TOKEN.",
            details=details,
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError | errors.HFValidationError):
        return Failure(
            ErrorCode.MODEL_NOT_FOUND,
            f"Model {repository!r}: wanted a repository of that name on the hub, found none.",
            hint="Correct the name; for a private model set HF_TOKEN.",
            details=details,
        )
    return Failure(
        ErrorCode.MODEL_DOWNLOAD_FAILED,
        f"Model {repository!r} could not be downloaded: {error}"[:2000],
        hint="Check the network and try again; what is fetched already is kept.",
        details=details,
    )
