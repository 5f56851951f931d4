"""glibc's allocator itself tells what it keeps."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"), reason="needs glibc"
)


def test_threads_allocate_from_one_heap() -> None:
    """glibc itself tells how many heaps there are."""
    script = """
import ctypes, threading
from preflight.wire import heap
heap.share_one()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(4)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("<heap nr=") == 1


def test_what_was_freed_is_given_back() -> None:
    """Small blocks between kept ones: freed, they stay with the process until it gives them back."""
    script = """
import pathlib
from preflight.wire import heap
def resident(): return int(pathlib.Path("/proc/self/statm").read_text().split()[1])
blocks = [bytearray(600) for _ in range(100_000)]
del blocks[: 99_000]
before = resident()
heap.give_back()
print(before - resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 5_000
