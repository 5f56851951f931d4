"""Listening, and being refused."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from preflight.wire import ErrorCode
from supervisor.port import listen, url_of
from supervisor.start_error import StartError


def test_any_free_port_listens_at_once() -> None:
    with listen("127.0.0.1", 0) as sock:
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
        socket.create_connection(sock.getsockname(), timeout=1).close()


def test_an_address_of_six_is_written_in_brackets() -> None:
    try:
        sock = listen("::1", 0)
    except StartError:
        pytest.skip("no IPv6 here")
    with sock:
        assert url_of(sock).startswith("http://[::1]:")


def test_a_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StartError) as caught:
        listen("127.0.0.1", taken.getsockname()[1])
    assert caught.value.code is ErrorCode.PORT_IN_USE
    if sys.platform == "linux":
        assert f"process {os.getpid()}" in caught.value.message


def test_an_address_that_is_not_ours_is_typed() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(StartError) as caught:
            listen(host, 0)
        assert caught.value.code is ErrorCode.PORT_FORBIDDEN
        assert caught.value.details["reason"]


def test_a_forbidden_port_is_typed() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may listen anywhere")
    with pytest.raises(StartError) as caught:
        listen("127.0.0.1", 1)
    assert caught.value.code is ErrorCode.PORT_FORBIDDEN
