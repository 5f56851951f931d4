"""Judges what is around us: clock, proxies, copied folders, processor, another instance. Pure.

Constraint: CPython 3.8 or newer, standard library alone; no I/O.
"""

from __future__ import annotations

from preflight.checks.verdict import Verdict, ok, skipped, warning
from preflight.facts import Facts
from preflight.wire import ErrorCode

#: A clock may be behind that of whoever made our files by so much: time zones that were mistaken for one another.
_CLOCK_SLACK_S = 86400.0

#: Nobody uses files of ours that are so much older than the day: the clock is ahead.
_CLOCK_AHEAD_S = 20 * 365 * 86400.0

_SHORT = "Only a report looks at this."

#: What makes bf16 faster than f32, as Linux names it.
_BF16 = ("amx_bf16", "avx512_bf16", "bf16")


def clock_sane(facts: Facts) -> Verdict:
    """The clock is near the day that our own files are of: certificates are refused by one that is far off."""
    around = facts.around
    if around is None:
        return skipped(_SHORT)
    behind = around.newest_file - around.clock
    if -_CLOCK_AHEAD_S <= behind <= _CLOCK_SLACK_S:
        return ok("The clock is plausible.")
    off = f"{abs(behind) / 86400:.0f} days {'behind' if behind > 0 else 'ahead of'}"
    return warning(
        ErrorCode.NETWORK_ERROR,
        f"The clock is {off} our own files; downloads fail while it is.",
        "a clock near the day these files were made",
        f"{off} it",
        "Set the clock of this machine.",
    )


def proxy_spares_loopback(facts: Facts) -> Verdict:
    """No proxy would catch what programs here say to this machine itself."""
    if facts.around is None:
        return skipped(_SHORT)
    names = ", ".join(facts.around.proxy)
    if not names:
        return ok("No proxy stands before this machine's own address.")
    return warning(
        ErrorCode.NETWORK_ERROR,
        f"Programs that heed {names} would call us through the proxy. We do not; a client of yours may.",
        "NO_PROXY with 127.0.0.1 and localhost",
        names,
        "Set NO_PROXY=127.0.0.1,localhost for the programs that call us.",
    )


def folders_local(facts: Facts) -> Verdict:
    """No folder of ours is copied elsewhere while we write to it."""
    if facts.around is None:
        return skipped(_SHORT)
    if not facts.around.synced:
        return ok("No folder of ours is copied to a cloud service.")
    found = "; ".join(f"{path} ({service})" for path, service in facts.around.synced)
    return warning(
        ErrorCode.PATH_NOT_WRITABLE,
        f"A service copies our folders while we write to them: {found}.",
        "folders that stay on this machine",
        found,
        "Name others: --venv, --state-dir.",
    )


def cpu_features(facts: Facts) -> Verdict:
    """What the processor is good at. Never an error: inference runs on any."""
    cpu = facts.around.cpu if facts.around else None
    if cpu is None:
        return skipped("The system does not tell what the processor is good at." if facts.around else _SHORT)
    fast = next((name for name in _BF16 if name in cpu), None)
    if fast:
        return ok(f"The processor computes in bf16 ({fast}): --precision auto takes it.", found=fast)
    widest = next((name for name in ("avx512f", "avx2", "asimd", "avx") if name in cpu), "none we know")
    return ok(f"The processor has no bf16 ({widest}): --precision auto means f32.", found=widest)


def instance_running(facts: Facts) -> Verdict:
    """Whether an instance runs already; never an error by itself."""
    instance = facts.instance
    if instance is None:
        return ok("No instance runs in this state folder.", found="none")
    found = f"{instance.url} (process {instance.pid})"
    if instance.alive:
        return ok(f"An instance runs: {found}.", found=found)
    return ok(f"An instance was killed and left its file, which the next start replaces: {found}.", found=found)
