"""Build the bundle: ``python3 scripts/build_bundle.py``, with any supported Python, from any folder.

Makes its own environment in ``build/``, and ``dist/embedding-sidecar`` by it.
``--with-model`` adds the embedded model. ``--twice`` builds a second time and
says which files differ; none should. docs/packaging.md has the rest.

Constraint: standard library alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bundling import listing  # noqa: E402
from preflight.dependencies import Profile, needed_for  # noqa: E402
from preflight.gate import require_supported_python  # noqa: E402
from preflight.probes.interpreter import venv_python  # noqa: E402

WORK = ROOT / "build" / "bundle"
ENVIRONMENT = WORK / "environment"
MODEL = WORK / "model"

_REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "requirements-bundle.txt")

#: Written last: an environment without it, or with another text, is not finished.
_STAMP = "finished"

#: Time of every file inside archives where the project is no checkout: 2024-01-01.
_SOME_TIME = "1704067200"

_MB = 1000 * 1000


def main(argv: Sequence[str]) -> int:
    """Build as the command line says; returns the exit status."""
    require_supported_python(argv)
    arguments = _parser().parse_args(argv)
    started = time.monotonic()
    model = _model() if arguments.with_model else None
    folder = build(arguments.out.absolute(), model)
    contents = listing.of(folder)
    listing.write_sums(folder, contents)
    size = sum(entry.size for entry in contents)
    print(f"{folder}: {size / _MB:.0f} MB in {len(contents)} files, {time.monotonic() - started:.0f} s")
    print(f"SHA-256 of all paths and contents: {listing.digest(contents)}")
    return _compare(contents, build(WORK / "again", model)) if arguments.twice else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build the bundle of supervisor and sidecar.", allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="DIR", help="folder to build in (dist)")
    parser.add_argument("--with-model", action="store_true", help="add the embedded model, some 45 MB")
    parser.add_argument("--twice", action="store_true", help="build again and compare")
    return parser


def build(out: Path, model: Path | None) -> Path:
    """Build in ``out``, replacing what is there, and return the bundle's folder. Raises ``CalledProcessError``."""
    python = _python()
    work = WORK / "work" / hashlib.sha256(str(out).encode()).hexdigest()[:8]
    work.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "PyInstaller", str(ROOT / "bundle.spec"), "--noconfirm", "--clean"]
    command += ["--distpath", str(out), "--workpath", str(work), "--log-level", "ERROR"]
    given = {"BUNDLE_MODEL": str(model)} if model is not None else {}
    subprocess.run(command, check=True, cwd=ROOT, env={**_environment(), **given})
    folder = out / "embedding-sidecar"
    listing.write_names(folder)
    return folder


def _environment() -> dict[str, str]:
    """What makes two builds of one source the same, over our own environment."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BUNDLE_"))}
    ours = {
        "PYINSTALLER_CONFIG_DIR": str(WORK / "cache"),
        # What is compiled differs in a few bytes by whether its reader was compiled or read from a file.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": _source_time(),
    }
    return {**environ, **ours}


def _source_time() -> str:
    """When the source was last changed, in seconds since 1970."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return given
    try:
        asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
        return subprocess.run(asked, capture_output=True, check=True, text=True).stdout.strip() or _SOME_TIME
    except (OSError, subprocess.CalledProcessError):
        return _SOME_TIME


def _python() -> Path:
    """The interpreter of the build's environment, which is made where it is missing or out of date."""
    stamp = ENVIRONMENT / _STAMP
    wanted = hashlib.sha256(b"\0".join([sys.version.encode(), *(path.read_bytes() for path in _REQUIREMENTS)]))
    if not stamp.is_file() or stamp.read_text("utf-8") != wanted.hexdigest():
        print(f"Making the build's environment in {ENVIRONMENT}", flush=True)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, with_pip=True)
        _install(*(d.name for d in needed_for(Profile.LEAN) if not d.alone), "--requirement", str(_REQUIREMENTS[1]))
        _install("--no-deps", *(d.name for d in needed_for(Profile.LEAN) if d.alone))
        stamp.write_text(wanted.hexdigest(), "utf-8")
    return venv_python(ENVIRONMENT)


def _install(*arguments: str) -> None:
    pip = [str(venv_python(ENVIRONMENT)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-compile", "--constraint", str(_REQUIREMENTS[0]), *arguments], check=True)


def _model() -> Path:
    """The embedded model, prepared: half the size, and nothing left to do at the first start."""
    shutil.rmtree(MODEL, ignore_errors=True)
    convert = [str(_python()), "-m", "sidecar", "convert", "embedded", str(MODEL), "--offline"]
    subprocess.run(convert, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, env=_environment())
    return MODEL


def _compare(contents: Sequence[listing.Entry], again: Path) -> int:
    differing = listing.differing(contents, listing.of(again))
    for path in differing:
        print(f"differs: {path}")
    print("The second build is the same." if not differing else f"{len(differing)} files differ.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
