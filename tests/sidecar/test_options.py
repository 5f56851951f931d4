from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from preflight.wire import cpus
from preflight.wire.models import DEFAULT_MODEL
from sidecar.options import EngineName, Options, Precision, UsageError, parse


def test_defaults_are_those_of_the_contract() -> None:
    options = parse([], {})
    assert (options.host, options.port, options.model) == ("127.0.0.1", 8421, DEFAULT_MODEL)
    assert (options.engine, options.precision, options.device) == (EngineName.AUTO, Precision.F32, "auto")
    assert options.threads == cpus.usable_cores()
    assert (options.max_texts, options.max_body_bytes) == (2048, 16 * 1024 * 1024)
    assert (options.token, options.lifeline, options.offline) == (None, False, False)
    assert len(options.nonce) == 32


def test_the_command_line_goes_over_the_environment() -> None:
    environ = {"SIDECAR_PORT": "1", "SIDECAR_MODEL": "a", "SIDECAR_CACHE_DIR": "/c", "SIDECAR_THREADS": "3"}
    options = parse(["--port", "2", "--model", "b"], environ)
    assert (options.port, options.model, options.cache_dir, options.threads) == (2, "b", Path("/c"), 3)


def test_every_option_has_a_variable() -> None:
    environ = {
        "SIDECAR_HOST": "::1",
        "SIDECAR_PORT": "0",
        "SIDECAR_MODEL": "embedded",
        "SIDECAR_ENGINE": "remote",
        "SIDECAR_PRECISION": "bf16",
        "SIDECAR_DEVICE": "cuda:1",
        "SIDECAR_THREADS": "2",
        "SIDECAR_CACHE_DIR": "/c",
        "SIDECAR_OFFLINE": "true",
        "SIDECAR_MAX_TEXTS": "10",
        "SIDECAR_MAX_BODY_BYTES": "2048",
        "SIDECAR_DRAIN_TIMEOUT": "1.5",
        "SIDECAR_LOG_LEVEL": "debug",
        "SIDECAR_NONCE": "n",
        "SIDECAR_TOKEN": "t",
        "SIDECAR_LIFELINE": "1",
        "SIDECAR_BATCH_SHARE": "0.5",
        "SIDECAR_REMOTE_URL": "https://example.org/v1",
        "SIDECAR_REMOTE_MODEL": "m",
        "SIDECAR_REMOTE_DIMENSIONS": "256",
        "SIDECAR_REMOTE_MAX_TOKENS": "512",
        "SIDECAR_REMOTE_MAX_ITEMS": "8",
        "SIDECAR_REMOTE_REQUESTS_PER_MINUTE": "60",
        "SIDECAR_REMOTE_TOKENS_PER_MINUTE": "6000",
    }
    assert parse([], environ) == Options(
        host="::1",
        port=0,
        model="embedded",
        engine=EngineName.REMOTE,
        precision=Precision.BF16,
        device="cuda:1",
        threads=2,
        cache_dir=Path("/c"),
        offline=True,
        max_texts=10,
        max_body_bytes=2048,
        drain_timeout=1.5,
        log_level="debug",
        nonce="n",
        token="t",
        lifeline=True,
        batch_share=0.5,
        remote_url="https://example.org/v1",
        remote_model="m",
        remote_dimensions=256,
        remote_max_tokens=512,
        remote_max_items=8,
        remote_requests_per_minute=60,
        remote_tokens_per_minute=6000,
    )
    assert len(environ) == len(dataclasses.fields(Options))


def test_the_token_is_never_shown() -> None:
    assert "secret-token" not in repr(parse([], {"SIDECAR_TOKEN": "secret-token"}))


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_no_variable(value: str) -> None:
    environ = {"SIDECAR_PORT": value.strip(), "SIDECAR_TOKEN": value.strip()}
    assert parse([], environ).port == 8421
    assert parse([], environ).token is None


@pytest.mark.parametrize(
    ("argv", "environ", "says"),
    [
        (["--port", "65536"], {}, ["--port", "0 to 65535", "65536"]),
        (["--port", "x"], {}, ["--port", "0 to 65535", "'x'"]),
        (["--port", ""], {}, ["--port", "0 to 65535", "''"]),
        ([], {"SIDECAR_PORT": "-1"}, ["SIDECAR_PORT", "0 to 65535", "-1"]),
        (["--threads", "0"], {}, ["--threads", "1 to 1024"]),
        (["--engine", "onnx"], {}, ["--engine", "auto, fixed16, openvino, torch", "onnx"]),
        (["--precision", "int8"], {}, ["--precision", "f32, bf16, auto", "int8"]),
        (["--device", "cpu:0"], {}, ["--device", "cuda:N", "cpu:0"]),
        (["--device", "tpu"], {}, ["--device", "mps", "tpu"]),
        (["--drain-timeout", "nan"], {}, ["--drain-timeout", "0 to 3600", "nan"]),
        (["--model", " "], {}, ["--model", "not empty"]),
        (["--log-level", "loud"], {}, ["--log-level", "warning", "loud"]),
        ([], {"SIDECAR_OFFLINE": "maybe"}, ["SIDECAR_OFFLINE", "1 or 0", "maybe"]),
    ],
)
def test_a_bad_value_is_named_with_its_source(argv: list[str], environ: dict[str, str], says: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv, environ)
    for part in says:
        assert part in str(caught.value)


def test_an_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--por", "1"], {})
    assert caught.value.code == 2
    assert "--por" in capsys.readouterr().err


def test_the_share_of_a_batch_comes_from_the_environment_alone() -> None:
    assert parse([], {}).batch_share == 1.0
    assert parse([], {"SIDECAR_BATCH_SHARE": "0.25"}).batch_share == 0.25


@pytest.mark.parametrize("share", ["0", "-1", "2", "nan", "half"])
def test_a_share_that_is_none_is_refused(share: str) -> None:
    with pytest.raises(UsageError, match="SIDECAR_BATCH_SHARE"):
        parse([], {"SIDECAR_BATCH_SHARE": share})
