"""Chooses the launcher of this platform."""

from __future__ import annotations

import sys

from supervisor.process.base import Launcher


def platform_launcher(platform: str = sys.platform) -> Launcher:
    """Return the launcher for ``platform``, spelt as ``sys.platform``; other POSIX systems count as macOS."""
    if platform == "win32":
        from supervisor.process.windows import WindowsLauncher

        return WindowsLauncher()
    if platform == "linux":
        from supervisor.process.linux import LinuxLauncher

        return LinuxLauncher()
    from supervisor.process.darwin import DarwinLauncher

    return DarwinLauncher()
