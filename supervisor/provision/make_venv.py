"""Makes a virtual environment with pip in it; run by the interpreter it is made from.

``python -I make_venv.py FOLDER`` prints the version of pip that is in it. What
``python -m venv`` does takes five seconds, nearly all of them for pip to
install and compile itself; unpacking the wheel that Python brings for that
gives the same pip at once. Where there is no such wheel, ``venv``'s own way is
taken, and what it says of the reason is what is reported.

Constraint: standard library alone, nothing of ours.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path


def main(folder: str) -> None:
    """Make the environment at ``folder``, which does not exist yet."""
    wheel = bundled_wheel()
    builder = venv.EnvBuilder(symlinks=sys.platform != "win32", with_pip=wheel is None)
    context = builder.ensure_directories(folder)
    builder.create(folder)
    if wheel is not None:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site_packages(Path(context.env_dir)))
        sys.stdout.write(f"pip {wheel.name.split('-')[1]}\n")


def bundled_wheel() -> Path | None:
    """The newest wheel of pip that came with this Python; distributions may keep it in a folder of their own."""
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR")]
    spec = importlib.util.find_spec("ensurepip")
    if spec is not None and spec.origin:
        folders.append(str(Path(spec.origin).parent / "_bundled"))
    wheels = [wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*-py3-none-any.whl")]
    return max(wheels, default=None, key=lambda wheel: wheel.stat().st_mtime)


def site_packages(environment: Path) -> str:
    """Where pure packages go in the environment."""
    base = {"base": str(environment), "platbase": str(environment)}
    return sysconfig.get_path("purelib", scheme="venv", vars=base)


if __name__ == "__main__":
    main(sys.argv[1])
