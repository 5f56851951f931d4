"""Golden vectors: what sentence-transformers gave for the probe texts, kept in a file.

They stand in for the library where it is not installed, and spare the seconds
that it takes where it is. The embedded model's are shipped, made by ``python -m
sidecar.prepare.golden`` where torch is installed; ``convert`` puts a model's
own into the folder it makes. Kept as float16: its rounding moves a cosine by 1e-8.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from sidecar.engines.base import Float32
from sidecar.prepare.probes import texts_digest

log = logging.getLogger(__name__)

#: Name of the file within a folder that ``convert`` made.
NAME = "golden.npz"

SHIPPED = Path(__file__).with_name(NAME)


def read(path: Path, identity: str) -> Float32 | None:
    """Return the vectors in ``path`` if they are of this very model and these texts, shape ``(texts, dim)``."""
    try:
        with path.open("rb") as file, np.load(file) as kept:
            if str(kept["identity"]) == identity and str(kept["texts"]) == texts_digest():
                vectors: Float32 = kept["vectors"].astype(np.float32)
                return vectors
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("golden vectors cannot be read: %s", error)
    return None


def write(path: Path, identity: str, rows: Float32) -> None:
    """Keep ``rows``, those of the probe texts, for the model with this identity. Raises ``OSError``."""
    kept = {"identity": np.array(identity), "texts": np.array(texts_digest()), "vectors": rows.astype(np.float16)}
    temporary = path.with_name(f".{path.name}")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **kept)  # type: ignore[arg-type]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> int:
    """Write the file that is shipped."""
    from preflight.wire.models import EMBEDDED_MODEL
    from sidecar.fingerprint import identity
    from sidecar.models import resolve
    from sidecar.prepare.memo import Memo
    from sidecar.prepare.reference import reference_rows

    folder = resolve(EMBEDDED_MODEL).folder
    with tempfile.TemporaryDirectory() as forgotten:
        known_as = identity(folder, Memo(Path(forgotten)))
    write(SHIPPED, known_as, reference_rows(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
