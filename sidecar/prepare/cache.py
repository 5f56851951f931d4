"""Where the prepared form of a model lies in the cache, and whether it can be used again."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from sidecar.failures import Failure
from sidecar.prepare import store
from sidecar.prepare.manifest import MANIFEST, Manifest
from sidecar.prepare.memo import Memo

log = logging.getLogger(__name__)


def is_prepared(folder: Path) -> bool:
    """Tell whether a folder was made by ``convert``, or is one of the cache."""
    return (folder / MANIFEST).is_file()


def place(folder: Path, model_id: str, identity: str, cache_dir: Path, *, made_by: str) -> Path:
    """Return where the prepared form of a model belongs, whether or not it is there.

    ``made_by``: the preparer and its version; another one makes another folder.
    """
    limits = {name: _text(folder / name) for name in ("sentence_bert_config.json", "tokenizer_config.json")}
    parts = json.dumps([made_by, identity, limits])
    name = "".join(char if char.isalnum() or char in "-_." else "-" for char in model_id.rpartition("/")[2])
    return cache_dir / "models" / f"{name[:64]}-{hashlib.sha256(parts.encode('utf-8')).hexdigest()[:16]}"


def reusable(folder: Path, memo: Memo) -> Manifest | None:
    """Return the manifest of a folder in the cache; None, and no such folder any more, where it is damaged."""
    if not is_prepared(folder):
        store.discard(folder)  # without its manifest it is no use, and in the way
        return None
    try:
        manifest = store.check(folder, memo)
    except Failure as failure:
        log.warning("the prepared model is made anew: %s", failure.message)
        store.discard(folder)
        return None
    store.touch(folder)
    return manifest


def _text(path: Path) -> str:
    """What may hold the token limit, which is no part of the identity."""
    return path.read_text("utf-8", "replace") if path.is_file() else ""
