"""Where our files live on each platform: config, data, cache, state and log.

``platformdirs`` answers where it is installed. A bare Python has none, and must
name the same folders, so its rules for our one application are here too; the
tests hold the two against each other for Linux, macOS and Windows.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

import contextlib
import ntpath
import os
import posixpath
import sys
from pathlib import Path
from typing import Mapping, NamedTuple

APP_NAME = "embedding-sidecar"

#: Left in an environment by our set-up, as the last thing before it is put in place.
MARKER = "embedding-sidecar.json"

_CSIDL_LOCAL_APPDATA = 0x1C  # shlobj_core.h


class Folders(NamedTuple):
    """One folder a purpose; none of them need exist yet."""

    config: Path
    data: Path
    cache: Path
    state: Path
    log: Path


def locate() -> Folders:
    """Return the folders of the user who runs this. Raises ``RuntimeError`` when there is no home folder."""
    try:
        from platformdirs import PlatformDirs
    except ImportError:
        return Folders(*(Path(folder) for folder in by_stdlib(sys.platform, os.environ, _home_by_account())))
    dirs = PlatformDirs(APP_NAME, appauthor=False)
    return Folders(
        dirs.user_config_path, dirs.user_data_path, dirs.user_cache_path, dirs.user_state_path, dirs.user_log_path
    )


def by_stdlib(platform: str, environ: Mapping[str, str], account_home: str) -> tuple[str, str, str, str, str]:
    """Return config, data, cache, state and log folder for ``platform``, spelled as in ``sys.platform``.

    ``account_home``: the home folder where the environment names none.
    Raises ``RuntimeError`` when the folder they hang on cannot be told.
    """
    if platform == "win32":
        return _windows(_local_app_data(environ))
    home = environ.get("HOME", "")
    if not posixpath.isabs(home):
        home = account_home
    if not posixpath.isabs(home):
        raise RuntimeError(f"no home folder: HOME is {environ.get('HOME')!r}, the account's is {account_home!r}")
    return _macos(environ, home) if platform == "darwin" else _unix(environ, home)


def _unix(environ: Mapping[str, str], home: str) -> tuple[str, str, str, str, str]:
    state = _xdg(environ, "XDG_STATE_HOME", f"{home}/.local/state")
    return (
        _xdg(environ, "XDG_CONFIG_HOME", f"{home}/.config"),
        _xdg(environ, "XDG_DATA_HOME", f"{home}/.local/share"),
        _xdg(environ, "XDG_CACHE_HOME", f"{home}/.cache"),
        state,
        posixpath.join(state, "log"),
    )


def _macos(environ: Mapping[str, str], home: str) -> tuple[str, str, str, str, str]:
    support = f"{home}/Library/Application Support"
    return (
        _xdg(environ, "XDG_CONFIG_HOME", support),
        _xdg(environ, "XDG_DATA_HOME", support),
        _xdg(environ, "XDG_CACHE_HOME", f"{home}/Library/Caches"),
        _xdg(environ, "XDG_STATE_HOME", support),
        f"{home}/Library/Logs/{APP_NAME}",
    )


def _windows(local_app_data: str) -> tuple[str, str, str, str, str]:
    own = ntpath.join(ntpath.normpath(local_app_data), APP_NAME)
    return own, own, ntpath.join(own, "Cache"), own, ntpath.join(own, "Logs")


def _xdg(environ: Mapping[str, str], name: str, default: str) -> str:
    """A relative path in these variables is to be ignored, says their specification."""
    base = environ.get(name, "")
    return posixpath.join(base if posixpath.isabs(base) else default, APP_NAME)


def _local_app_data(environ: Mapping[str, str]) -> str:
    override = environ.get("WIN_PD_OVERRIDE_LOCAL_APPDATA", "").strip()  # platformdirs reads it as well
    if ntpath.splitdrive(override)[0] and ntpath.isabs(override):
        return override
    folder = _known_folder() or environ.get("LOCALAPPDATA")
    if not folder:
        raise RuntimeError("no folder for application data: LOCALAPPDATA is not set")
    return folder


def _known_folder() -> str | None:
    """Ask Windows itself: unlike the variable, the answer follows a redirected profile."""
    if sys.platform == "win32":
        import ctypes

        buffer = ctypes.create_unicode_buffer(1024)
        if ctypes.windll.shell32.SHGetFolderPathW(None, _CSIDL_LOCAL_APPDATA, None, 0, buffer) == 0:
            return buffer.value
    return None


def _home_by_account() -> str:
    if sys.platform != "win32":
        import pwd

        with contextlib.suppress(KeyError):  # a user id that the system has no account for, as in many containers
            return pwd.getpwuid(os.getuid()).pw_dir
    return ""
