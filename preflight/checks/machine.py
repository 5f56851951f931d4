"""Judges the machine: disk, memory, folders and port. Pure.

Constraint: CPython 3.8 or newer, standard library alone; no I/O.
"""

from __future__ import annotations

from preflight.checks.environment import must_install
from preflight.checks.verdict import Verdict, error, ok, skipped
from preflight.dependencies import Profile
from preflight.facts import Facts, FolderProblem, PortProblem
from preflight.model import Status
from preflight.wire import ErrorCode

_MB = 1000 * 1000

#: Disk that making an environment takes, in MB: measured size of the environment plus the installer's downloads.
INSTALL_MB = {Profile.LEAN: 800, Profile.FULL: 3000}

#: Disk for logs and prepared models, in MB, when nothing has to be installed.
RUN_MB = 200

#: Peak memory of a sidecar in MB, as measured with the embedded model and with the default one.
EMBEDDED_MEMORY_MB = {Profile.LEAN: 400, Profile.FULL: 700}
MODEL_MEMORY_MB = {Profile.LEAN: 1100, Profile.FULL: 2000}


def disk_space(facts: Facts) -> Verdict:
    """Room for what has to be installed, or for logs and models when nothing has."""
    if facts.disk is None:
        return skipped("The system does not tell how much is free.")
    needed = INSTALL_MB[facts.wanted.profile] if must_install(facts) else RUN_MB
    free = facts.disk.free // _MB
    wanted, found = f"{needed} MB free", f"{free} MB free"
    if free >= needed:
        return ok(f"{free} MB are free for {facts.disk.path}; {needed} MB are needed.", wanted, found)
    message = f"{needed} MB are needed for {facts.disk.path}; {free} MB are free."
    return error(ErrorCode.DISK_SPACE_LOW, message, wanted, found, "Free some space, or name another disk with --venv.")


def memory_free(facts: Facts) -> Verdict:
    """Memory for the model: an error when the machine has too little, a warning when it is in use."""
    memory = facts.memory
    if memory is None or memory.total is None:
        return skipped("The system does not tell how much memory there is.")
    table = EMBEDDED_MEMORY_MB if facts.wanted.embedded_model else MODEL_MEMORY_MB
    needed = table[facts.wanted.profile]
    total = memory.total // _MB
    free = total if memory.available is None else memory.available // _MB
    wanted, found = f"{needed} MB", f"{free} MB available of {total} MB"
    if free >= needed:
        return ok(f"{free} MB are available; the model needs about {needed} MB.", wanted, found)
    # What is available now may be freed by the time the model loads; what is not there at all may not.
    status = Status.ERROR if total < needed else Status.WARNING
    message = f"The model needs about {needed} MB of memory; {found}."
    hint = "Close other programs, or choose a smaller model: --model embedded"
    return Verdict(status, message, wanted, found, ErrorCode.MEMORY_LOW, hint)


def paths_writable(facts: Facts) -> Verdict:
    """The folders of state, log and data can be written, and are not full."""
    if not facts.folders:
        return skipped("No folder was named.")
    bad = [folder for folder in facts.folders if folder.problem is not None]
    if not bad:
        purposes = ", ".join(f.folder.purpose for f in facts.folders)
        return ok(f"The folders can be written: {purposes}.")
    first = bad[0]
    full = first.problem is FolderProblem.FULL
    code = ErrorCode.DISK_SPACE_LOW if full else ErrorCode.PATH_NOT_WRITABLE
    found = "; ".join(f"{f.folder.purpose} folder {f.folder.path} ({f.detail})" for f in bad)
    hint = (
        "Free some space on that disk." if full else "Let your user write there, or name another: --state-dir, --venv"
    )
    return error(code, f"Cannot write: {found}.", "folders that can be written", found, hint)


def port_free(facts: Facts) -> Verdict:
    """The port can be listened on, or our own running instance does."""
    port = facts.port
    if port is None:
        return skipped("Any free port will do.")
    address = f"{port.host}:{port.port}"
    wanted = f"{address} free"
    if port.problem is None:
        return ok(f"{address} is free.", wanted, "free")
    if port.ours:
        return ok(f"{address} is served by the running instance.", wanted, "our own instance")
    if port.problem is PortProblem.IN_USE:
        holder = port.holder or "another program"
        hint = "End that program, or choose another port: --port 0 takes any that is free."
        return error(ErrorCode.PORT_IN_USE, f"{address} is in use by {holder}.", wanted, f"held by {holder}", hint)
    reason = "is no address of this machine" if port.problem is PortProblem.NO_SUCH_HOST else "is forbidden"
    message = f"{address} {reason}: {port.detail}."
    hint = "Choose another with --host or --port; ports under 1024 and reserved ranges belong to the system."
    return error(ErrorCode.PORT_FORBIDDEN, message, wanted, port.detail, hint)
