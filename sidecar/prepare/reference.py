"""The probes' vectors as sentence-transformers computes them. Runs in a process of its own."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path

import numpy as np

from sidecar.engines.base import Float32
from sidecar.prepare.probes import probe_texts


def write_reference(folder: Path, destination: Path) -> None:
    """Write the vectors of the model in ``folder`` as a ``.npy`` file of float32 rows."""
    np.save(destination, reference_rows(folder))


def reference_rows(folder: Path) -> Float32:
    """Return the vectors as the model's own pipeline gives them, without prompts."""
    # tqdm's own lock is a semaphore of multiprocessing, for which some platforms start a process.
    importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder), device="cpu", trust_remote_code=False, local_files_only=True, model_kwargs={"dtype": "float32"}
    )
    rows: Float32 = model.encode(list(probe_texts()), prompt="", batch_size=8, show_progress_bar=False)
    return rows.astype(np.float32)
