"""Telling a process from another that has its pid."""

from __future__ import annotations

import os
import subprocess

from supervisor.process import identity


def test_a_process_is_the_same_until_it_ends() -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    started, boot = identity.start_time(process.pid), identity.boot_id()
    assert identity.is_same(process.pid, started, boot)
    assert not identity.is_same(process.pid, started, "another boot")
    assert not identity.is_same(process.pid, "0", boot)
    assert not identity.is_same(process.pid, None, boot)
    process.kill()
    assert process.wait() == -9
    assert not identity.is_same(process.pid, started, boot)


def test_own() -> None:
    assert identity.is_same(*identity.own())
    assert identity.own()[0] == os.getpid()


def test_no_such_process() -> None:
    assert identity.start_time(2**22 + 1) is None
