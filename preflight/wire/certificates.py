"""Start servers without reading the system's certificates, which none of them needs.

The HTTP library makes two TLS contexts for its clients when it is imported,
and each parses every certificate the system trusts: 26 ms. What serves on this
machine, and calls nothing but this machine, has no use for them.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Iterator


@contextlib.contextmanager
def not_loaded() -> Iterator[None]:
    """While entered, new TLS contexts trust nobody: they refuse every peer rather than accept a wrong one.

    Import the library within. Nothing in the process may use a default context made here to call another machine.
    """

    def load_nothing(self: ssl.SSLContext, *_: Any, **__: Any) -> None:
        return None

    load = ssl.SSLContext.load_default_certs
    ssl.SSLContext.load_default_certs = load_nothing  # type: ignore[method-assign]
    ssl.SSLContext.set_default_verify_paths = load_nothing  # type: ignore[method-assign]
    try:
        yield
    finally:
        ssl.SSLContext.load_default_certs = load  # type: ignore[method-assign]
        del ssl.SSLContext.set_default_verify_paths  # inherited from the C class
