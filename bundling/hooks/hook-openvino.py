"""OpenVINO's libraries without what this project never loads: other devices and other models' formats.

Its libraries find each other by their own folder, so they stay there together, without links to them elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from PyInstaller.utils.hooks import PY_DYLIB_PATTERNS, collect_dynamic_libs  # type: ignore[import-untyped, unused-ignore]

#: Beginnings of library names, without ``lib``: the core, its own file format, the processor, and its threads.
_KEPT = ("openvino.", "openvino_ir_frontend", "openvino_intel_cpu_plugin", "openvino_arm_cpu_plugin", "tbb", "hwloc")

#: The patterns at hand miss libraries whose version comes last, as in libopenvino.so.2641.
_PATTERNS = [*PY_DYLIB_PATTERNS, "*.so.*"]


def _is_kept(library: str) -> bool:
    name = Path(library).name.removeprefix("lib")
    return name.startswith(_KEPT) and not name.startswith("tbbmalloc_proxy")


binaries = [
    (library, folder)
    for library, folder in collect_dynamic_libs("openvino", search_patterns=_PATTERNS)
    if _is_kept(library)
]

bindepend_symlink_suppression = ["**/openvino/libs/*"]
