"""Options from three places, and what is said of those that cannot be used."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.dependencies import Extra, Profile
from preflight.wire.models import DEFAULT_MODEL
from supervisor.config import ConfigError, Settings, load
from supervisor.options import OPTIONS, Option

NO_FILE = Path("/no/such/config.toml")

#: What each option of a remote model goes with.
_REMOTE = {"engine": "remote", "remote_model": "m"}


def _load(
    arguments: dict[str, Any] | None = None, environ: dict[str, str] | None = None, file: Path = NO_FILE
) -> Settings:
    return load(argparse.Namespace(**(arguments or {})), environ or {}, file)


def test_defaults_are_those_of_the_contract() -> None:
    settings = _load()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8421, DEFAULT_MODEL)
    assert (settings.engine, settings.precision, settings.threads) == ("auto", "f32", None)
    assert (settings.auto_restart, settings.restart_delay_s, settings.hold_timeout_s) == (True, 0.0, 30.0)
    assert (settings.events, settings.allow_origins, settings.require_token) == ("auto", (), False)
    assert (settings.profile, settings.wanted_profile) == (None, Profile.LEAN)
    assert settings.state_dir.name == "embedding-sidecar"


def test_command_line_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('port = 1\nmodel = "file"\nengine = "torch"\n', "utf-8")
    settings = _load({"port": "3"}, {"SIDECAR_PORT": "2", "SIDECAR_MODEL": "environment"}, file)
    assert (settings.port, settings.model, settings.engine) == (3, "environment", "torch")


@pytest.mark.parametrize("option", OPTIONS, ids=[option.name for option in OPTIONS])
def test_every_option_is_read_alike_from_every_place(option: Option, tmp_path: Path) -> None:
    text, toml = _example(option)
    others = _REMOTE if option.name.startswith("remote-") else {}
    beside = {key: value for key, value in others.items() if key != option.key}
    file = tmp_path / "config.toml"
    file.write_text(f"{option.name} = {toml}\n", "utf-8")
    by_argument = _load({**beside, option.key: text})
    assert by_argument == _load(beside, {option.variable: text})
    assert by_argument == _load(beside, file=file)
    assert by_argument != _load(beside)


def _example(option: Option) -> tuple[str, str]:
    """A value that is not the default, as text and as TOML."""
    if option.kind.wanted.startswith("one of"):
        word = next(word for word in reversed((option.kind.metavar or "").split("|")) if word != option.default)
        return word, f'"{word}"'
    if option.kind.wanted == "true or false":
        return "yes", "true"
    if option.kind.wanted.startswith("origins"):
        return "http://a:1,app://b", '["http://a:1", "app://b"]'
    if option.kind.wanted.startswith(("a whole", "seconds")):
        return "77", "77"
    if option.name == "remote-url":
        return "https://a:1/v1", '"https://a:1/v1"'
    if option.kind.wanted.startswith("faults"):
        return "kill=30s,slow=0.2s", '"slow=200ms, kill=0.5m"'
    return "/some/where", '"/some/where"'


def test_a_relative_path_counts_from_where_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "config.toml"
    file.write_text('venv = "here"\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    assert _load(file=file).venv == tmp_path / "config" / "here"
    assert _load({"venv": "here"}).venv == tmp_path / "here"
    monkeypatch.setenv("HOME", "/home/me")
    assert _load({"venv": "~/here"}).venv == Path("/home/me/here")


def test_logs_follow_the_state_folder(tmp_path: Path) -> None:
    assert _load({"state_dir": str(tmp_path)}).log_dir == tmp_path / "log"


def test_an_empty_variable_is_not_set() -> None:
    assert _load({}, {"SIDECAR_PORT": "", "SIDECAR_THREADS": " "}) == _load()


BAD = [
    ("port", "65536"), ("port", "-1"), ("port", "1.5"), ("port", "x"), ("threads", "0"), ("host", " "),
    ("engine", "Torch"), ("precision", "f16"), ("restart_delay", "-1"), ("restart_delay", "nan"),
    ("hold_timeout", "inf"), ("startup_timeout", "0"), ("memory_limit", "1"), ("idle_unload", "0"),
    ("events", "json"), ("host_pid", "0"), ("log_level", "loud"), ("venv", ""), ("venv", "a\0b"),
    ("allow_origin", "localhost"), ("allow_origin", ["http://a", 1]), ("standby", "perhaps"), ("venv", "~nobody-x/y"),
    ("chaos", "kill"), ("chaos", "kill=30"), ("chaos", "kill=1s,kill=2s"), ("chaos", "burn=1s"), ("chaos", "kill=0s"),
    ("chaos", "slow=25h"), ("chaos", "kill=1s,,"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_bad_value_says_where_wanted_and_found(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        _load({key: value})
    error = caught.value
    assert error.option == "--" + key.replace("_", "-")
    assert error.wanted
    assert error.found == repr(value)
    assert error.source == "command line"
    assert str(error) == f"{error.option}: wanted {error.wanted}, found {error.found} ({error.source})"


@given(st.sampled_from(OPTIONS), st.text(max_size=20))
def test_any_text_is_read_or_refused(option: Option, text: str) -> None:
    try:
        settings = _load({option.key: text})
    except ConfigError as error:
        assert option.name in str(error) or "torch" in str(error)
    else:
        assert isinstance(settings, Settings)


toml_values = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()), st.none()
)


@given(st.sampled_from(OPTIONS), toml_values)
def test_a_file_s_value_of_any_type_is_read_or_refused(option: Option, value: Any) -> None:
    with contextlib.suppress(ValueError, TypeError, OverflowError, RuntimeError):
        option.kind.read(value)


@pytest.mark.parametrize(("option", "value"), [("port", True), ("port", 1.5), ("hold-timeout", False), ("host", 1)])
def test_types_are_not_bent(option: str, value: Any) -> None:
    row = next(row for row in OPTIONS if row.name == option)
    with pytest.raises(ValueError, match=r"^$"):
        row.kind.read(value)


def test_an_unknown_key_names_its_neighbour(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("prot = 1\n", "utf-8")
    with pytest.raises(ConfigError, match="key 'prot': wanted port, perhaps"):
        _load(file=file)


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.toml: wanted a readable TOML file"):
        _load(file=file)


def test_a_folder_in_the_file_s_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        _load(file=tmp_path)


def test_torch_brings_its_profile() -> None:
    assert _load({"engine": "torch"}).wanted_profile is Profile.FULL
    assert _load({"profile": "full"}).wanted_profile is Profile.FULL
    with pytest.raises(ConfigError, match="which the torch engine needs"):
        _load({"engine": "torch", "profile": "lean"})


def test_a_remote_model_brings_its_packages() -> None:
    assert _load(_REMOTE).wanted_extras == (Extra.REMOTE,)
    assert _load(_REMOTE).wanted_profile is Profile.LEAN
    assert _load({**_REMOTE, "profile": "full"}).wanted_profile is Profile.FULL
    assert _load({"engine": "openvino"}).wanted_extras == ()


def test_set_up_takes_the_engine_alone() -> None:
    assert _load({"engine": "remote"}).wanted_extras == (Extra.REMOTE,)


@pytest.mark.parametrize("key", ["remote_url", "remote_model", "remote_dimensions"])
@pytest.mark.parametrize("engine", [None, "auto", "openvino", "torch"])
def test_nothing_of_a_remote_model_goes_with_another_engine(key: str, engine: str | None) -> None:
    variable = "SIDECAR_" + key.upper()
    with pytest.raises(ConfigError) as caught:
        _load({"engine": engine, "remote_model": None}, {variable: "7"})
    error = caught.value
    assert (error.option, error.source) == ("--" + key.replace("_", "-"), "environment")
    assert error.found == f"engine {engine or 'auto'!r}"


def test_a_remote_engine_needs_its_model_named(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('engine = "remote"\nremote-url = "http://localhost/v1"\n', "utf-8")
    with pytest.raises(ConfigError) as caught:
        _load({"remote_model": None}, {}, file)
    assert (caught.value.option, caught.value.found) == ("--remote-model", "none")
    assert str(file) in caught.value.source
    assert _load({"remote_model": "m"}, {}, file).remote["remote-url"] == "http://localhost/v1"


@pytest.mark.parametrize("url", ["localhost:80", "ftp://a/v1", "http://", "https://a:port/v1", "http://[::1/v1", "/v1"])
def test_a_remote_address_is_one_of_http(url: str) -> None:
    with pytest.raises(ConfigError, match="wanted an address such as") as caught:
        _load({**_REMOTE, "remote_url": url})
    assert (caught.value.option, caught.value.found) == ("--remote-url", repr(url))


@pytest.mark.parametrize("url", ["https://me:hush@a/v1", "me:hush@a", "https://hush@a:port"])
def test_an_address_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="without user and password") as caught:
        _load(_REMOTE, {"SIDECAR_REMOTE_URL": url})
    assert "hush" not in str(caught.value)
    assert caught.value.source == "environment"
