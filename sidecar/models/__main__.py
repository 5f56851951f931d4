"""``python -m sidecar.models list|add|remove|verify``; ``python3 -m supervisor models`` runs it in the environment."""

from __future__ import annotations

import sys

from sidecar.models.command import run as main

if __name__ == "__main__":
    sys.exit(main())
