"""The version as each platform's executables carry it."""

from __future__ import annotations

import sys
from pathlib import Path

from preflight.wire.version import VERSION

_DESCRIPTION = "Text embeddings for desktop apps"

#: As PyInstaller reads it: language 0x0409 (English), character set 1200 (Unicode), kind 1 (program).
_TEMPLATE = """\
VSVersionInfo(
  ffi=FixedFileInfo(filevers={numbers}, prodvers={numbers}, mask=0x3F, flags=0, OS=0x40004, fileType=1, subtype=0),
  kids=[
    StringFileInfo([StringTable("040904B0", [{strings}])]),
    VarFileInfo([VarStruct("Translation", [0x0409, 1200])]),
  ],
)
"""


def numbers(version: str = VERSION) -> tuple[int, int, int, int]:
    """``1.2.3`` -> ``(1, 2, 3, 0)``; what follows the numbers does not count."""
    parts: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        parts.append(int(digits or 0))
        if digits != part:
            break
    padded = [*parts, 0, 0, 0, 0]
    return padded[0], padded[1], padded[2], padded[3]


def resource(name: str, version: str = VERSION) -> str:
    """Return the version resource of the executable ``name`` as text."""
    strings = {
        "FileDescription": _DESCRIPTION,
        "FileVersion": version,
        "InternalName": name,
        "OriginalFilename": f"{name}.exe",
        "ProductName": "embedding-sidecar",
        "ProductVersion": version,
    }
    listed = ", ".join(f"StringStruct({key!r}, {value!r})" for key, value in strings.items())
    return _TEMPLATE.format(numbers=numbers(version), strings=listed)


def resource_file(name: str, folder: Path, platform: str = sys.platform) -> str | None:
    """Write the version resource into ``folder`` and return its path; None where executables have none."""
    if platform != "win32":
        return None
    path = folder / f"{name}.version"
    path.write_text(resource(name), "utf-8")
    return str(path)
