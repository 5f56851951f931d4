"""What a model folder says of itself, read without any ML library."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from preflight.wire import ErrorCode
from sidecar.failures import Failure

MODULES_FILE = "modules.json"
PROMPTS_FILE = "config_sentence_transformers.json"
CARD_FILE = "README.md"
PREPARED_FILE = "openvino/prepared.json"

#: Names under which models keep the prompt of a document, first found wins.
_DOCUMENT_NAMES = ("document", "passage", "corpus")

#: sentence-transformers knows these in every model, empty where the model has none of its own.
_ALWAYS_NAMED = ("query", "document")


@dataclass(frozen=True, slots=True)
class Module:
    """One step of a sentence-transformers pipeline: ``kind`` is its class name alone."""

    kind: str
    #: Subfolder of the model; empty for the model's own folder.
    path: str
    type: str


@dataclass(frozen=True, slots=True)
class Prompts:
    """The texts a model wants before a query or a document."""

    #: By the model's own names.
    named: Mapping[str, str] = field(default_factory=dict)
    #: Used where no ``input_type`` is given; most models have none.
    default: str = ""

    def of(self, input_type: str | None) -> str:
        """Return the prompt of ``input_type``: ``query``, ``document`` or None; empty where the model has none."""
        if input_type is None:
            return self.default
        names = _DOCUMENT_NAMES if input_type == "document" else (input_type,)
        return next((self.named[name] for name in names if name in self.named), "")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises ``Failure`` (MODEL_CORRUPT) when it cannot be read as JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Failure(
            ErrorCode.MODEL_CORRUPT,
            f"{path.name}: wanted a JSON file, found: {error}.",
            hint="Fetch the model again.",
            details={"file": str(path), "wanted": "JSON", "found": str(error)},
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """Return the object a JSON file holds; empty when there is no such file. Raises ``Failure``."""
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise Failure(
            ErrorCode.MODEL_CORRUPT,
            f"{path.name}: wanted a JSON object, found {type(content).__name__}.",
            hint="Fetch the model again.",
            details={"file": str(path), "wanted": "object", "found": type(content).__name__},
        )
    return content


def read_modules(folder: Path) -> tuple[Module, ...]:
    """Return the pipeline of ``folder`` in order; a plain transformer names none. Raises ``Failure``."""
    path = folder / MODULES_FILE
    if not path.is_file():
        return ()
    try:
        return tuple(_module(entry) for entry in read_json(path))
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(
            ErrorCode.MODEL_CORRUPT,
            f"{MODULES_FILE}: wanted a list of modules with a path inside the model and a type, found: {error}.",
            hint="Fetch the model again.",
            details={"file": str(path), "found": str(error)},
        ) from error


def _module(entry: Mapping[str, Any]) -> Module:
    path, type_ = entry["path"], entry["type"]
    if not isinstance(path, str) or not isinstance(type_, str):
        raise TypeError(f"path {path!r}, type {type_!r}")
    if path.startswith("/") or ".." in Path(path).parts or ":" in path or "\\" in path:
        raise ValueError(f"path {path!r}")
    return Module(type_.rpartition(".")[2], path, type_)


def transformer_folder(folder: Path) -> Path:
    """Return where the transformer's own files are: older models keep them in a subfolder."""
    modules = read_modules(folder)
    return folder / modules[0].path if modules else folder


def read_prompts(folder: Path) -> Prompts:
    """Return the prompts of a model folder. Raises ``Failure``."""
    config = read_object(folder / PROMPTS_FILE)
    named, default_name = config.get("prompts"), config.get("default_prompt_name")
    named = {} if named is None else named
    texts = isinstance(named, dict) and all(isinstance(text, str) for text in named.values())
    if not texts or (default_name is not None and default_name not in {*_ALWAYS_NAMED, *named}):
        raise Failure(
            ErrorCode.MODEL_CORRUPT,
            f"{PROMPTS_FILE}: wanted prompts by name and a default among them, found {named!r:.200}, {default_name!r}.",
            hint="Correct the file or fetch the model again.",
            details={"file": str(folder / PROMPTS_FILE)},
        )
    return Prompts(MappingProxyType(named), named.get(default_name, ""))


def prepared_model_id(folder: Path) -> str | None:
    """Return the name of the model that ``folder`` was prepared from; None where it was not. Raises ``Failure``."""
    name = read_object(folder / PREPARED_FILE).get("model_id")
    return name if isinstance(name, str) and name else None


def allows_dimensions(folder: Path) -> bool:
    """Tell whether the model was trained so that a prefix of its vector is a vector.

    Models say so in ``config.json`` or, where sentence-transformers wrote
    their card, by naming the loss they were trained with.
    """
    config = read_object(transformer_folder(folder) / "config.json")
    if config.get("is_matryoshka") is True or config.get("matryoshka_dimensions"):
        return True
    try:
        card = (folder / CARD_FILE).read_text("utf-8", "replace")
    except OSError:
        return False
    header = card.split("\n---", 1)[0] if card.startswith("---") else ""
    return re.search(r"^\s*- loss:MatryoshkaLoss\s*$", header, re.MULTILINE) is not None
