"""The reference engine: sentence-transformers' own pipeline on a processor, a CUDA device or Apple's GPU.

It runs every module the model has and tokenizes as the library does, so its
vectors are the library's; only batching is ours. Models whose input cannot be
cut into token ids text by text are refused by a check at load.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from preflight.wire import ErrorCode, EventType
from sidecar.engines.base import Encoded, Float32, ModelCard, Parity, TokenIds
from sidecar.failures import Failure
from sidecar.fingerprint import fingerprint
from sidecar.models.metadata import allows_dimensions, read_prompts

log = logging.getLogger(__name__)

#: Most tokens a text keeps where the model itself knows no limit.
_MAX_TOKENS = 32_768

#: Compared with the library at load: empty, short, long enough to be cut, other scripts.
_PROBES = ("", "a", "The quick brown fox jumps over the lazy dog.\n", "多语言文本 и ещё один текст 🙂", "word " * 600)

#: Least cosine between ours and the library's vectors of one probe, by what is computed in.
_LEAST_COSINE = {"f32": 0.99999, "bf16": 0.999}

#: sentence-transformers' classes that take text and make token ids of it.
_TEXT_INPUTS = ("Transformer",)


class TorchEngine:
    """A SentenceTransformer model, called batch by batch."""

    def __init__(self, model: Any, card: ModelCard) -> None:
        self._model = model
        self._tokenizer = model[0].tokenizer
        self._card = card
        self._is_cuda = card.device.startswith("cuda")

    @property
    def card(self) -> ModelCard:
        return self._card

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids that the library would compute from each text alone."""
        limit = self._card.max_tokens
        cut: dict[int, TokenIds] = {}
        whole = self._ids(texts, truncate=False)
        too_long = [index for index, ids in enumerate(whole) if len(ids) > limit]
        if too_long:  # cut by the tokenizer itself, which keeps the closing token
            cut = dict(zip(too_long, self._ids([texts[i] for i in too_long], truncate=True), strict=True))
        return [Encoded(cut.get(index, ids), len(ids), index in cut) for index, ids in enumerate(whole)]

    def _ids(self, texts: Sequence[str], *, truncate: bool) -> list[TokenIds]:
        encoded = self._tokenizer(
            list(texts),
            padding=False,
            truncation="longest_first" if truncate else False,
            max_length=self._card.max_tokens if truncate else None,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return [np.asarray(ids, np.int32) for ids in encoded["input_ids"]]

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        """Pad ``batch`` to its longest row, run every module, return float32 rows."""
        import torch

        ids, mask = pad(batch, self._tokenizer.pad_token_id or 0, left=self._tokenizer.padding_side == "left")
        features = {"input_ids": self._to_device(ids), "attention_mask": self._to_device(mask)}
        if "token_type_ids" in self._tokenizer.model_input_names:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        with torch.inference_mode():
            rows = self._model({**features, "modality": "text"})["sentence_embedding"]
            rows = rows[:, : self._card.dim].float().cpu()
        vectors: Float32 = rows.numpy()
        return vectors

    def _to_device(self, array: npt.NDArray[np.int64]) -> Any:
        import torch

        tensor = torch.from_numpy(array)
        if self._is_cuda:  # from pinned memory the copy runs beside the computation
            return tensor.pin_memory().to(self._card.device, non_blocking=True)
        return tensor.to(self._card.device)

    def close(self) -> None:
        """Free the model and, on a CUDA device, the memory torch keeps for later."""
        self._model = self._tokenizer = None
        if self._is_cuda:
            import torch

            torch.cuda.empty_cache()


def pad(
    batch: Sequence[TokenIds], pad_id: int, *, left: bool = False
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return ids and attention mask of shape ``(len(batch), longest)``; ``left``: padding goes before the text."""
    width = max(map(len, batch))
    ids = np.full((len(batch), width), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(batch):
        place = slice(width - len(one), width) if left else slice(len(one))
        ids[row, place] = one
        mask[row, place] = 1
    return ids, mask


def load(
    folder: Path,
    model_id: str,
    *,
    device: str = "auto",
    precision: str = "f32",
    threads: int = 1,
    cache_dir: Path | None = None,
    report: Callable[[EventType, Mapping[str, Any]], None] | None = None,
) -> TorchEngine:
    """Load the model in ``folder`` and check it against the library; blocks for seconds.

    ``device``: ``auto`` takes the best there is; one that is named is never
    replaced by another. ``precision``: ``f32``, ``bf16``, or ``auto`` for bf16
    where the device has it. ``cache_dir``: where digests of large files are
    remembered; None: the platform's. Nothing is reported: nothing is prepared.
    Raises ``Failure`` (EMBEDDER_INIT_FAILED).
    """
    del report
    try:
        chosen = _device(device)
        actual = _precision(precision, chosen)
        _prepare_library(threads)
        model = _load_model(folder, chosen, actual)
        engine = TorchEngine(model, _card(model, folder, model_id, actual, cache_dir))
        return TorchEngine(model, _with_parity(engine, model))
    except Failure:
        raise
    except Exception as error:
        raise _failure(f"could not load it: {error}"[:2000], model_id, type(error).__name__) from error


def _failure(what: str, wanted: object, found: object, hint: str = "Use another model, or --engine auto.") -> Failure:
    details = {"engine": "torch", "wanted": wanted, "found": found}
    return Failure(ErrorCode.EMBEDDER_INIT_FAILED, f"The torch engine {what}", hint=hint, details=details)


def _device(wanted: str) -> str:
    """Return the device to use; ``auto`` is the best there is. Raises ``Failure`` when a named one is not there."""
    try:
        import torch
    except ImportError as error:
        raise _failure(
            f"needs the package torch: {error}.",
            "torch and sentence-transformers",
            None,
            "Run: python3 -m supervisor setup --profile full",
        ) from error
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there[:0] = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if wanted == "auto":
        return there[0]
    if wanted not in there:
        raise _failure(
            f"wanted device {wanted!r}, found {', '.join(there)}.",
            wanted,
            there,
            "Name one of these, or --device auto.",
        )
    return wanted


def _precision(wanted: str, device: str) -> str:
    """Return ``f32`` or ``bf16``; ``auto`` is bf16 where the device computes in it."""
    import torch

    if wanted != "auto":
        return wanted
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "f32"
    found = torch.cpu.get_capabilities()
    return "bf16" if device == "cpu" and any(found.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16")) else "f32"


def _prepare_library(threads: int) -> None:
    import torch
    from transformers.utils import logging as transformers_logging

    # tqdm's own lock is a semaphore of multiprocessing, for which some platforms start a process that outlives us.
    importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        try:
            torch.set_num_interop_threads(1)
        except RuntimeError as error:  # only before the first parallel work
            log.debug("interop threads stay as they are: %s", error)


def _load_model(folder: Path, device: str, precision: str) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = SentenceTransformer(
        str(folder),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": dtype, "use_safetensors": True},
    )
    _require_text(model)
    return model.to(dtype).eval()


def _require_text(model: Any) -> None:
    """Raise ``Failure`` unless plain text goes in as token ids, and the ids say all there is to say."""
    kind = type(model[0]).__name__
    if kind not in _TEXT_INPUTS or model[0].tokenizer is None or "text" not in model[0].modality_config:
        raise _failure(f"wanted a text transformer as first module, found {kind}.", list(_TEXT_INPUTS), kind)
    if "message" in model[0].modality_config:
        raise _failure("wanted a model of plain text, found one of chat messages.", "text", "message")
    leaves_prompt_out = any(getattr(module, "include_prompt", True) is False for module in model)
    if leaves_prompt_out and any(model.prompts.values()):
        raise _failure(
            "wanted a model that pools over its prompt, found one that leaves it out.", "include_prompt", False
        )


def _card(model: Any, folder: Path, model_id: str, precision: str, cache_dir: Path | None) -> ModelCard:
    limit = min(model.max_seq_length or _MAX_TOKENS, _MAX_TOKENS)
    prompts = read_prompts(folder).named
    return ModelCard(
        model_id=model_id,
        dim=int(model.get_embedding_dimension()),
        max_tokens=int(limit),
        engine="torch",
        device=str(model.device),
        precision=precision,
        fingerprint=fingerprint(
            folder, max_tokens=int(limit), prompts=prompts, precision_class=precision, cache_dir=cache_dir
        ),
        prompts=prompts,
        dimensions_allowed=allows_dimensions(folder),
    )


def _with_parity(engine: TorchEngine, model: Any) -> ModelCard:
    """Compare with ``encode`` and return the card that says how it went. Raises ``Failure`` when they differ."""
    from dataclasses import replace

    ours = engine.infer([one.ids for one in engine.tokenize(_PROBES)])
    theirs = np.stack([model.encode(probe, prompt="", show_progress_bar=False).astype(np.float32) for probe in _PROBES])
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    least = float(np.min(np.sum(ours.astype(np.float64) * theirs, axis=1) / norms))
    wanted = _LEAST_COSINE[engine.card.precision]
    if not least >= wanted:
        raise _failure(f"wanted the library's vectors (cosine >= {wanted}), found {least:.6f}.", wanted, least)
    return replace(engine.card, parity=Parity("sentence-transformers", min(1.0, least), len(_PROBES)))
