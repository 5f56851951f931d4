from __future__ import annotations

from preflight.wire.environment import THREAD_VARIABLES, scrubbed, sidecar_variables


def test_threads_are_set_for_every_library() -> None:
    added = sidecar_variables(3, {})
    assert {added[name] for name in THREAD_VARIABLES} == {"3"}
    assert added["TOKENIZERS_PARALLELISM"] == "false"


def test_loopback_joins_the_users_own_exceptions() -> None:
    assert sidecar_variables(1, {"no_proxy": "corp.example, localhost"})["NO_PROXY"] == (
        "corp.example,localhost,127.0.0.1,::1"
    )


def test_what_bends_a_child_interpreter_is_dropped() -> None:
    base = {"PATH": "/bin", "PYTHONPATH": "/x", "PYTHONHOME": "/y", "_PYI_SPLASH_IPC": "1", "_MEIPASS2": "/z"}
    assert scrubbed(base, frozen=False) == {"PATH": "/bin"}


def test_a_bundle_gives_the_users_library_path_back() -> None:
    base = {"LD_LIBRARY_PATH": "/bundle", "LD_LIBRARY_PATH_ORIG": "/users", "DYLD_LIBRARY_PATH": "/bundle"}
    assert scrubbed(base, frozen=True) == {"LD_LIBRARY_PATH": "/users"}
    assert scrubbed({"LD_LIBRARY_PATH": "/users"}, frozen=False) == {"LD_LIBRARY_PATH": "/users"}
