"""Fetches one large file so that what has come is never fetched again, not even by another process.

The library writes to a file of its own that it throws away when it fails. Here
the content grows in the cache, beside its place, under its own hash; when all
of it is there and right it is put in place, and the library, which finds it
there, does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar.models.cache import REVISION, repository_folder
from sidecar.models.integrity import is_intact, names_content

log = logging.getLogger(__name__)

#: How often a connection may break before we give up, though something came each time.
_BREAKS = 20


class DamagedError(Exception):
    """What came is not what the hub has."""


def fetch_content(
    repository: str, name: str, cache: Path, bar: Callable[[Callable[[int], None]], Any], count: Callable[[int], None]
) -> None:
    """Put the content of ``name`` into ``cache``; returns having done nothing where the library must do it all.

    ``count`` hears of bytes as they come, and first of those that were there.
    Raises ``DamagedError`` and whatever the library raises.
    """
    from filelock import FileLock
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repository, name, revision=REVISION)
    about = get_hf_file_metadata(url)
    if about.xet_file_data is not None or about.size is None or not names_content(about.etag or ""):
        return
    blob = repository_folder(repository, cache) / "blobs" / str(about.etag)
    part = blob.with_name(blob.name + ".part")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(part.with_suffix(".lock")):
        if blob.exists():
            return
        # A token is for the hub, not for the store that it sends us to.
        token = None if urlsplit(about.location).netloc == urlsplit(url).netloc else False
        _complete(part, about.location, about.size, token, bar, count)
        if is_intact(part, blob.name) is False:
            part.unlink()
            raise DamagedError(f"{name} came with another content than the hub has")
        part.replace(blob)


def _complete(
    part: Path,
    url: str,
    size: int,
    token: bool | None,
    bar: Callable[[Callable[[int], None]], Any],
    count: Callable[[int], None],
) -> None:
    """Have ``part`` grow to ``size`` bytes, going on where it ends as long as something comes each time."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if part.exists() and part.stat().st_size > size:
        part.unlink()
    part.touch()
    count(part.stat().st_size)
    for _ in range(_BREAKS):
        before = part.stat().st_size
        try:
            with part.open("r+b") as file:
                file.seek(before)
                http_get(
                    url,
                    file,
                    resume_size=before,
                    headers=build_hf_headers(token=token),
                    expected_size=size,
                    displayed_filename=part.name,
                    tqdm_class=bar(count),
                )
            return
        except (HfHubHTTPError, StalledError):
            raise
        except Exception as error:
            if part.stat().st_size <= before:
                raise
            log.warning("the connection broke after %d bytes: %s", part.stat().st_size, error)
    raise StalledError(f"the connection broke {_BREAKS} times")


class StalledError(Exception):
    """So little comes that it will not end."""
