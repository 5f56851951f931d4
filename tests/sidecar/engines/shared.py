"""What the tests of several engines need: a listener, texts as ids, weights in bfloat16."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preflight.wire import EventType
from sidecar.engines.base import TokenIds
from sidecar.failures import Failure
from sidecar.prepare.checkpoint import Array
from tests.sidecar.prepare.bare import VOCABULARY


class Heard:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.events: list[EventType] = []

    def __call__(self, type_: EventType, data: Mapping[str, Any]) -> None:
        self.events.append(type_)


def some_ids(length: int, choose: random.Random) -> TokenIds:
    return np.array([2, *(choose.randrange(4, VOCABULARY) for _ in range(length - 2)), 3][:length], np.int32)


def failure_of(call: Callable[[], object]) -> Failure:
    with pytest.raises(Failure) as caught:
        call()
    assert caught.value.message
    assert caught.value.hint
    return caught.value


def upper_half(array: Array) -> Array:
    """Return the numbers that bfloat16 holds."""
    kept: Array = (array.view(np.uint32) & 0xFFFF0000).view(np.float32)
    return kept


def rename_as_bfloat16(path: Path, weights: Mapping[str, Array]) -> None:
    """Rewrite a file so that it holds ``weights`` as bfloat16."""
    header: dict[str, Any] = {}
    offset = 0
    for name, array in weights.items():
        end = offset + array.size * 2
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for array in weights.values():
            file.write((array.view(np.uint32) >> 16).astype("<u2").tobytes())
