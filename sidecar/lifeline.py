"""Ending with the parent, however stuck this process is.

Standard input is held open by whoever started the sidecar; end of file there
means that it is gone. Three guards follow from that, each for a worse case:

1. a thread sees the end of file and asks for a graceful stop;
2. the same thread ends the process when that stop takes too long;
3. a timer in C, which needs no GIL and is pushed back while the parent lives,
   ends the process when no Python thread can run any more.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: How long a stop may take after the parent is gone before the process is ended.
STOP_WITHIN_S = 1.8

#: How long no Python thread may run before the timer in C ends the process, with a traceback.
DEADMAN_S = 30.0

#: How often the timer is pushed back; once costs 26 us.
_REARM_EVERY_S = 1.0

_READ_BYTES = 65_536

#: Names of the threads that ``watch`` starts: they hold nothing that an end of the process would harm.
THREADS = ("deadman", "lifeline")


def watch(
    stop: Callable[[], None],
    *,
    fd: int = 0,
    within_s: float = STOP_WITHIN_S,
    deadman_s: float = DEADMAN_S,
    end: Callable[[int], None] = os._exit,
) -> None:
    """Call ``stop`` from a thread once ``fd`` is at its end; ``end(0)`` when the process outlives that by ``within_s``.

    Whatever is written to ``fd`` is read and dropped. The timer in C is armed
    from now on. Returns at once.
    """
    gone = threading.Event()
    threading.Thread(target=_read_to_end, args=(fd, gone), name="lifeline", daemon=True).start()
    threading.Thread(target=_keep, args=(gone, stop, within_s, deadman_s, end), name="deadman", daemon=True).start()


def _read_to_end(fd: int, gone: threading.Event) -> None:
    try:
        while os.read(fd, _READ_BYTES):
            continue
    except OSError:  # closed under us: the same as gone
        log.debug("standard input cannot be read")
    gone.set()


def _keep(
    gone: threading.Event,
    stop: Callable[[], None],
    within_s: float,
    deadman_s: float,
    end: Callable[[int], None],
) -> None:
    file = _traceback_file()
    while True:
        faulthandler.dump_traceback_later(deadman_s, exit=True, file=file)
        if gone.wait(_REARM_EVERY_S):
            break
    faulthandler.dump_traceback_later(within_s + 1, exit=True, file=file)
    log.info("the parent is gone: stopping")
    stop()
    time.sleep(within_s)
    log.warning("not stopped within %.1f s of the parent's end", within_s)
    end(0)


def dump_stacks_on_signal() -> None:
    """Make SIGUSR1 print every thread's stack to standard error, where the platform has that signal.

    Done in C: it shows also what a thread that holds the GIL is doing.
    """
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, file=_traceback_file(), all_threads=True)


def _traceback_file() -> int:
    """File descriptor for tracebacks: standard error's, whatever ``sys.stderr`` was replaced by."""
    return sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
