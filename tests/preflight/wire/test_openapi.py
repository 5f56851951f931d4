from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from preflight.wire.openapi import OPERATIONS, Operation, document
from preflight.wire.schemas import STRING, obj


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _references(value)


@pytest.fixture
def made() -> dict[str, Any]:
    mine = Operation("POST", "/mine", "mine", "Mine.", {"application/json": STRING}, status=202, token=True)
    extended = document("t", "1", [*OPERATIONS, mine], schemas={"Mine": obj({"a": STRING})})
    loaded: dict[str, Any] = json.loads(json.dumps(extended))
    return loaded


def test_every_reference_leads_somewhere(made: dict[str, Any]) -> None:
    for reference in _references(made):
        node: Any = made
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_call_documents_its_errors_in_the_one_shape(made: dict[str, Any]) -> None:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for path, calls in made["paths"].items():
        for call in calls.values():
            for status in ("401", "403", "421"):
                assert call["responses"][status]["content"] == error, path
    embed = made["paths"]["/embed"]["post"]["responses"]
    assert {"200", "400", "413", "415", "422", "429", "503", "504"} <= set(embed)
    assert "POISON_INPUT" in embed["422"]["description"]


def test_ids_are_unique() -> None:
    ids = [operation.id for operation in OPERATIONS]
    assert len(set(ids)) == len(ids)


def test_own_rows_are_added(made: dict[str, Any]) -> None:
    mine = made["paths"]["/mine"]["post"]
    assert set(mine["responses"]) >= {"202", "401"}
    assert mine["security"] == [{"token": []}]
    assert "security" not in made["paths"]["/embed"]["post"]
    assert "Mine" in made["components"]["schemas"]


def test_the_token_everywhere_leaves_health_open() -> None:
    paths = document("t", "1", OPERATIONS, token_everywhere=True)["paths"]
    assert [path for path, calls in paths.items() if all("security" not in call for call in calls.values())] == [
        "/health"
    ]
