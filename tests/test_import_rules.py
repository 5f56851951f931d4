"""Who may import whom, held by walking the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("preflight", "sidecar", "supervisor")

#: Modules that decide and never act: no clock, no process, no event loop, no network.
PURE = {
    "preflight.checks",
    "preflight.render",
    "sidecar.planner",
    "supervisor.endings",
    "supervisor.exits",
    "supervisor.machine",
    "supervisor.messages",
    "supervisor.moves",
    "supervisor.policy",
    "supervisor.progress",
    "supervisor.stages",
    "supervisor.standby",
    "supervisor.succession",
    "supervisor.supervision",
    "supervisor.watchdog",
}
IMPURE = {
    "aiohttp",
    "asyncio",
    "multiprocessing",
    "os",
    "select",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
}

ML_LIBRARIES = {"huggingface_hub", "openvino", "safetensors", "sentence_transformers", "torch", "transformers"}
ML_HOMES = ("sidecar.engines.", "sidecar.prepare.", "sidecar.models")

#: Parsed by CPython 2.7 before the version gate can answer.
GATED = [
    "preflight/__init__.py",
    "preflight/__main__.py",
    "preflight/gate.py",
    "sidecar/__init__.py",
    "sidecar/__main__.py",
    "supervisor/__init__.py",
    "supervisor/__main__.py",
    "tests/__init__.py",
    "tests/__main__.py",
]


def _name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def _trees() -> dict[str, ast.Module]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {_name(path): ast.parse(path.read_text("utf-8"), str(path)) for path in paths}


TREES = _trees()


def _imports(tree: ast.AST, *, top_level_only: bool = False) -> Iterator[str]:
    """Yield the dotted names that ``tree`` imports, ``from a import b`` as ``a`` and ``a.b``."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif top_level_only and (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node)):
            continue
        todo.extend(ast.iter_child_nodes(node))


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _allowed(importer: str, imported: str) -> bool:
    package = imported.partition(".")[0]
    own = importer.partition(".")[0]
    if package not in PACKAGES or package == own:
        return True
    if own == "preflight" or package != "preflight":
        return False
    return own == "supervisor" or imported in {"preflight", "preflight.gate"} or imported.startswith("preflight.wire")


@pytest.mark.parametrize("name", TREES)
def test_packages_keep_apart(name: str) -> None:
    tree = TREES[name]
    offending = [imported for imported in _imports(tree) if not _allowed(name, imported)]
    if name == "sidecar.__main__":  # the gate's function is imported by name
        offending = [imported for imported in offending if not imported.startswith("preflight.gate.")]
    assert not offending


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_import_nothing_that_acts(name: str) -> None:
    used = {imported.partition(".")[0] for imported in _imports(TREES[name])}
    assert not used & IMPURE


@pytest.mark.parametrize("name", TREES)
def test_ml_libraries_are_imported_inside_functions_of_their_homes(name: str) -> None:
    everywhere = {imported.partition(".")[0] for imported in _imports(TREES[name])} & ML_LIBRARIES
    at_top = {imported.partition(".")[0] for imported in _imports(TREES[name], top_level_only=True)} & ML_LIBRARIES
    assert not at_top
    assert not everywhere or name.startswith(ML_HOMES)


@pytest.mark.parametrize("name", [name for name in TREES if name.partition(".")[0] == "preflight"])
def test_preflight_needs_the_standard_library_alone(name: str) -> None:
    import sys

    optional = {"packaging", "platformdirs", "psutil"}  # used when there, inside functions
    at_top = {imported.partition(".")[0] for imported in _imports(TREES[name], top_level_only=True)}
    assert at_top <= set(sys.stdlib_module_names) | {"preflight"}
    everywhere = {imported.partition(".")[0] for imported in _imports(TREES[name])}
    assert everywhere <= set(sys.stdlib_module_names) | {"preflight"} | optional


def test_no_import_cycles() -> None:
    graph = {
        name: {imported for imported in _imports(tree, top_level_only=True) if imported in TREES and imported != name}
        for name, tree in TREES.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for imported in sorted(graph[name]):
                visit(imported, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", GATED)
def test_files_before_the_gate_use_the_syntax_of_python_2(path: str) -> None:
    """A cheap hold for machines without a Python 2.7; the gate's own test runs the real one."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    forbidden = (ast.AnnAssign, ast.AsyncFunctionDef, ast.Await, ast.JoinedStr, ast.NamedExpr, ast.Match, ast.Nonlocal)
    for node in ast.walk(tree):
        assert not isinstance(node, forbidden), ast.dump(node)
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None
            assert not node.args.kwonlyargs
            assert all(argument.annotation is None for argument in node.args.args)
