"""PDF files, page by page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.readers.base import EXTRA, Section, damaged
from sidecar.stores.base import Scalar
from sidecar.stores.optional import require


def read_pdf(path: Path) -> Iterator[Section]:
    """Yield the pages that have text, each with its number from 1 and the document's title."""
    pypdf = require("pypdf", EXTRA)
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it tells every oddity of every file
    try:
        with path.open("rb") as file:
            reader = pypdf.PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(""):
                raise _encrypted(path)
            title = str(reader.metadata.title or "") if reader.metadata else ""
            for number, page in enumerate(reader.pages, 1):
                text = page.extract_text()
                if text.strip():
                    metadata: dict[str, Scalar] = {"page": number}
                    yield Section(text, metadata | ({"title": title} if title else {}))
    except (IngestError, OSError):
        raise
    except pypdf.errors.DependencyError as error:
        raise _encrypted(path) from error
    except RecursionError as error:
        raise damaged(path, "objects that contain themselves") from error
    except Exception as error:  # the library raises whatever a damaged file makes it stumble over
        raise damaged(path, f"{type(error).__name__}: {error}"[:300]) from error


def _encrypted(path: Path) -> IngestError:
    return IngestError(
        IngestCode.SOURCE_ENCRYPTED,
        f"{path.name}: wanted a PDF that opens without a password, found an encrypted one.",
        hint="Save it without a password.",
        details={"path": str(path)},
    )
