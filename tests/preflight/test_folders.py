"""A bare Python and ``platformdirs`` name the same folders."""

from __future__ import annotations

import ntpath
import os
import pwd
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from platformdirs.api import PlatformDirsABC
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from preflight.folders import APP_NAME, by_stdlib, locate

ROOT = Path(__file__).parents[2]
XDG = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
values = st.sampled_from([None, "", "relative/folder", "/absolute/folder", "/with space/ü"])


def _asked(kind: Any) -> list[str]:
    dirs: PlatformDirsABC = kind(APP_NAME, appauthor=False)
    return [dirs.user_config_dir, dirs.user_data_dir, dirs.user_cache_dir, dirs.user_state_dir, dirs.user_log_dir]


@pytest.mark.parametrize(("platform", "kind"), [("linux", Unix), ("darwin", MacOS)])
@given(environ=st.fixed_dictionaries(dict.fromkeys((*XDG, "HOME"), values)))
def test_same_folders_on_linux_and_macos(platform: str, kind: Any, environ: dict[str, str | None]) -> None:
    given = {name: value for name, value in environ.items() if value is not None}
    with pytest.MonkeyPatch.context() as patched:
        for name in environ:
            patched.delenv(name, raising=False)
        for name, value in given.items():
            patched.setenv(name, value)
        assert list(by_stdlib(platform, given, pwd.getpwuid(os.getuid()).pw_dir)) == _asked(kind)


@pytest.mark.parametrize(
    "environ",
    [
        {"LOCALAPPDATA": r"C:\Users\Ünal Öz\AppData\Local"},
        {"LOCALAPPDATA": r"D:\x\..\Local\ ".strip()},
        {"LOCALAPPDATA": r"C:\Local", "WIN_PD_OVERRIDE_LOCAL_APPDATA": r" E:\apps "},
        {"LOCALAPPDATA": r"C:\Local", "WIN_PD_OVERRIDE_LOCAL_APPDATA": r"relative"},
        {"LOCALAPPDATA": r"C:\Local", "WIN_PD_OVERRIDE_LOCAL_APPDATA": r"\\server\share\apps"},
    ],
)
def test_same_folders_on_windows(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platformdirs.windows._resolve_win_folder", lambda _: environ["LOCALAPPDATA"])
    like_windows = SimpleNamespace(path=ntpath, environ=os.environ)  # its paths follow the host otherwise
    monkeypatch.setattr("platformdirs.windows.os", like_windows)
    assert list(by_stdlib("win32", environ, "")) == _asked(Windows)


def test_no_home_is_an_error_with_a_reason() -> None:
    with pytest.raises(RuntimeError, match="HOME is None"):
        by_stdlib("linux", {}, "")
    with pytest.raises(RuntimeError, match="LOCALAPPDATA"):
        by_stdlib("win32", {}, "")


def test_a_bare_interpreter_finds_what_this_one_finds() -> None:
    program = "import sys; sys.modules['platformdirs'] = None\nfrom preflight.folders import locate; print(*locate())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(folder) for folder in locate()]
