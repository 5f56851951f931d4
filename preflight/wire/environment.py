"""The environment of a sidecar, set before its Python starts (contract, section 8)."""

from __future__ import annotations

from typing import Mapping

#: Identity of one launch: given to the sidecar, echoed in ``hello`` and ``/health``,
#: and found again in the environment of whatever the launch left behind.
NONCE = "SIDECAR_NONCE"

#: Bearer token that the sidecar asks of every caller but ``/health``'s.
TOKEN = "SIDECAR_TOKEN"

#: ``1``: end of file on standard input means the parent is gone: stop.
LIFELINE = "SIDECAR_LIFELINE"

#: Share of its usual batch budget that a sidecar may use, in (0, 1]: halved after each end for want of memory.
BATCH_SHARE = "SIDECAR_BATCH_SHARE"

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "TORCH_NUM_THREADS")

#: Variables by which a frozen bundle, a venv or a user's shell would bend a
#: child interpreter; never handed on.
LOADER_VARIABLES = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "LD_PRELOAD",
    "DYLD_INSERT_LIBRARIES",
)
LOADER_PREFIXES = ("_PYI_", "_MEIPASS", "_MEI")

#: Kept by PyInstaller's boot loader beside the value it replaced.
REPLACED_LOADER_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LIBPATH")

_FIXED = {
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def sidecar_variables(threads: int, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that section 8 adds to ``base`` for ``threads`` >= 1 threads."""
    added = dict(_FIXED)
    added.update({name: str(threads) for name in THREAD_VARIABLES})
    hosts = [part.strip() for part in (base.get("NO_PROXY") or base.get("no_proxy") or "").split(",") if part.strip()]
    hosts += [host for host in _LOOPBACK if host not in hosts]
    added["NO_PROXY"] = added["no_proxy"] = ",".join(hosts)
    return added


def scrubbed(base: Mapping[str, str], *, frozen: bool) -> dict[str, str]:
    """Return ``base`` without what would bend a child interpreter.

    ``frozen``: the caller is a PyInstaller bundle, whose boot loader replaced
    the library search path; the user's own value is put back.
    """
    kept = {
        name: value
        for name, value in base.items()
        if name not in LOADER_VARIABLES and not name.startswith(LOADER_PREFIXES)
    }
    for name in REPLACED_LOADER_PATHS:
        original = kept.pop(name + "_ORIG", None)
        if frozen:
            kept.pop(name, None)
            if original is not None:
                kept[name] = original
    return kept
