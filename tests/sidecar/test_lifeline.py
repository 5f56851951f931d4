from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

#: Watches with short times; the rest of the process is what each test makes of it.
WATCH = """
import os, sys, threading, time, ctypes
from sidecar import lifeline
asked = threading.Event()
lifeline.dump_stacks_on_signal()
lifeline.watch(asked.set, within_s=0.3, deadman_s={deadman_s})
print("watching", flush=True)
"""
GRACEFUL = WATCH.format(deadman_s=30) + "asked.wait(20); sys.exit(7)"
DEAF = WATCH.format(deadman_s=30) + "time.sleep(20)"
#: Holds the GIL in C for good: PyDLL calls do not release it.
STUCK = "ctypes.PyDLL(None).sleep(60)"


@contextlib.contextmanager
def _started(script: str) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, stderr=pipe)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"watching\n"
        try:
            yield process
        finally:
            process.kill()


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def test_the_end_of_standard_input_asks_for_a_stop() -> None:
    with _started(GRACEFUL) as process:
        _close(process)
        assert process.wait(30) == 7


def test_what_is_written_there_is_not_the_end() -> None:
    with _started(GRACEFUL) as process:
        assert process.stdin is not None
        process.stdin.write(b"x" * 200_000)
        process.stdin.flush()
        assert process.poll() is None
        _close(process)
        assert process.wait(30) == 7


def test_a_stop_that_takes_too_long_is_ended() -> None:
    with _started(DEAF) as process:
        before = time.monotonic()
        _close(process)
        assert process.wait(30) == 0
        assert time.monotonic() - before < 20


@pytest.mark.slow
def test_a_process_that_cannot_run_python_any_more_ends_too() -> None:
    with _started(WATCH.format(deadman_s=1) + STUCK) as process:
        assert process.wait(10) == 1
        assert process.stderr is not None
        assert b"Timeout" in process.stderr.read()


@pytest.mark.slow
def test_the_timer_is_pushed_back_while_the_parent_lives() -> None:
    with _started(WATCH.format(deadman_s=1.5) + "time.sleep(20)") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2.5)
        _close(process)
        assert process.wait(30) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="the platform has no SIGUSR1")
def test_a_signal_prints_the_stacks_and_harms_nothing() -> None:
    with _started(GRACEFUL) as process:
        os.kill(process.pid, signal.SIGUSR1)
        assert process.stderr is not None
        seen = b""
        while b"most recent call first" not in seen:
            seen += process.stderr.readline()
        assert b"Thread" in seen
        assert process.poll() is None
        _close(process)
        assert process.wait(30) == 7
