"""Printing for people and for programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any


def say(value: Mapping[str, Any], text: str, arguments: argparse.Namespace) -> None:
    """Print ``value`` as a line of JSON where that was asked for, else ``text``."""
    sys.stdout.write((json.dumps(value) if arguments.json else text) + "\n")
