"""Mixed texts to measure with: docstrings of the standard library, cut to log-uniform lengths, always the same."""

from __future__ import annotations

import ast
import math
import random
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

#: Words of the shortest and of the longest text.
SHORTEST, LONGEST = 2, 350

#: Enough prose; each is in every supported Python.
_PACKAGES = ("asyncio", "collections", "concurrent", "email", "http", "importlib", "json", "logging", "multiprocessing")
_MODULES = (
    "argparse ast bdb calendar codecs contextlib datetime decimal difflib doctest enum fractions functools gettext "
    "heapq inspect ipaddress locale mailbox optparse pathlib pdb pickle platform pydoc random shutil smtplib socket "
    "socketserver ssl statistics string subprocess tarfile tempfile textwrap threading timeit tokenize trace "
    "traceback turtle typing unittest uuid warnings weakref zipfile"
)


def mixed_texts(count: int, seed: int = 1) -> list[str]:
    """Return ``count`` texts whose numbers of words are log-uniform from ``SHORTEST`` to ``LONGEST``."""
    words, choose = _words(), random.Random(seed)
    texts = []
    for _ in range(count):
        length = round(math.exp(choose.uniform(math.log(SHORTEST), math.log(LONGEST))))
        start = choose.randrange(len(words) - length)
        texts.append(" ".join(words[start : start + length]))
    return texts


def queries(count: int, seed: int = 2) -> list[str]:
    """Return ``count`` short texts of 3 to 9 words, none of them twice."""
    words, choose = _words(), random.Random(seed)
    starts = choose.sample(range(len(words) - 10), count)
    return [f"{' '.join(words[start : start + choose.randint(3, 9)])} {number}" for number, start in enumerate(starts)]


def corpus() -> str:
    """Return all the prose there is, for training a tokenizer."""
    return " ".join(_words())


@cache
def _words() -> list[str]:
    return [word for docstring in _docstrings() for word in docstring.split()]


def _docstrings() -> Iterator[str]:
    library = Path(sysconfig.get_path("stdlib"))
    files = [library / f"{name}.py" for name in _MODULES.split()]
    for package in _PACKAGES:
        files += sorted((library / package).rglob("*.py"))
    for path in files:
        if not path.is_file() or "test" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""
