"""The stores' fixtures, for runs into real stores."""

from __future__ import annotations

from tests.sidecar.stores.conftest import postgres, store_url

__all__ = ["postgres", "store_url"]
