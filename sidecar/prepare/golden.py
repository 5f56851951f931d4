"""Makes the golden vectors of the embedded model: ``python -m sidecar.prepare.golden`` where torch is installed.

They stand in for sentence-transformers where it is not installed, and spare
the seconds that it takes where it is. Kept as float16: its rounding moves a
cosine by 1e-8.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from preflight.wire.models import EMBEDDED_MODEL
from sidecar.fingerprint import identity
from sidecar.models import resolve
from sidecar.prepare.memo import Memo
from sidecar.prepare.probes import texts_digest
from sidecar.prepare.reference import reference_rows
from sidecar.prepare.verify import GOLDEN_FILE


def main() -> int:
    """Write ``golden.npz`` beside this file."""
    folder = resolve(EMBEDDED_MODEL).folder
    with tempfile.TemporaryDirectory() as forgotten:
        known_as = identity(folder, Memo(Path(forgotten)))
    rows = reference_rows(folder).astype(np.float16)
    np.savez(GOLDEN_FILE, identity=np.array(known_as), texts=np.array(texts_digest()), vectors=rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
