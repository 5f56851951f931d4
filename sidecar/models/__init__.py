"""From a model's name to a folder that holds all of it.

``resolve`` is the way in; ``metadata`` reads what a folder says of itself.
"""

from __future__ import annotations

from sidecar.models.resolution import ResolvedModel, Source, resolve

__all__ = ["ResolvedModel", "Source", "resolve"]
