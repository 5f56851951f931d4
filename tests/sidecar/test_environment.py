from __future__ import annotations

import subprocess
import sys

from preflight.wire.environment import THREAD_VARIABLES
from sidecar import environment


def test_a_bare_environment_gets_all_of_it() -> None:
    environ: dict[str, str] = {}
    environment.apply(3, environ)
    assert environ["TOKENIZERS_PARALLELISM"] == "false"
    assert {environ[name] for name in THREAD_VARIABLES} == {"3"}
    assert environ["HF_HUB_DISABLE_TELEMETRY"] == environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert "127.0.0.1" in environ["NO_PROXY"]


def test_what_a_supervisor_set_stays() -> None:
    environ: dict[str, str] = {}
    environment.apply(3, environ)
    before = dict(environ)
    environment.apply(8, environ)
    assert environ == before


def test_hosts_without_proxy_are_added_to() -> None:
    environ = {"NO_PROXY": "internal.example"}
    environment.apply(1, environ)
    assert environ["NO_PROXY"].split(",")[0] == "internal.example"
    assert "localhost" in environ["no_proxy"]


def test_offline_binds_every_library() -> None:
    environ: dict[str, str] = {}
    environment.go_offline(environ)
    assert environ == {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def test_streams_take_any_text_in_any_locale() -> None:
    script = 'from sidecar import environment; environment.use_utf8(); print("\\u65e5\\u672c \\ud800")'
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8").rstrip() == "日本 \\ud800"
