"""What installers print when they fail, and what it means."""

from __future__ import annotations

import pytest

from supervisor.provision import failures

LINES = [
    (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "DISK_SPACE_LOW",
        "full",
    ),
    ("error: failed to write: No space left on device (os error 28)", "DISK_SPACE_LOW", "full"),
    ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'", "DEPS_INSTALL_FAILED", "certificate"),
    ("error sending request: invalid peer certificate: UnknownIssuer", "DEPS_INSTALL_FAILED", "certificate"),
    ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407", "DEPS_INSTALL_FAILED", "proxy"),
    ("HTTP status client error (401 Unauthorized) status code: 401", "DEPS_INSTALL_FAILED", "refused us"),
    (
        "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
        "DEPS_INSTALL_FAILED",
        "reached",
    ),
    ("ERROR: No matching distribution found for orjson==9", "DEPS_INSTALL_FAILED", "no build"),
    ("error: Failed to install: Permission denied (os error 13)", "DEPS_INSTALL_FAILED", "written"),
    ("ERROR: No matching distribution found for torch==2.13.0+cpu", "DEPS_INSTALL_FAILED", "torch"),
    ("something that nobody has ever seen", "DEPS_INSTALL_FAILED", "status 7"),
]


@pytest.mark.parametrize(("line", "code", "says"), LINES)
def test_a_failure_is_understood(line: str, code: str, says: str) -> None:
    error = failures.understand(["Collecting x", line], 7, "pip")
    assert error.code.value == code
    assert says in error.message
    assert error.hint
    assert error.details["last_lines"][-1] == line
    assert error.details["exit_status"] == 7


def test_offline_is_the_reason_when_the_network_may_not_be_used() -> None:
    error = failures.not_cached(["no solution found"], 1, "uv")
    assert (error.code.value, error.details["installer"]) == ("DEPS_INSTALL_FAILED", "uv")
    assert "--offline" in error.hint
    assert failures.not_cached(["No space left on device"], 1, "uv").code.value == "DISK_SPACE_LOW"
