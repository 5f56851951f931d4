"""What a person types to run the sidecar."""

from __future__ import annotations

import sys

#: In a bundle it is an executable.
PROGRAM = "embedding-sidecar" if getattr(sys, "frozen", False) else "python -m sidecar"
