"""Embeddings of a server elsewhere that speaks OpenAI's API: OpenAI itself, TEI, vLLM, Infinity, Ollama.

``connect`` is the way in. What it returns takes the places of an engine and of
a scheduler: requests go out by the provider's limits, not through the one
inference thread. Texts leave this machine only because the user named the
address: nothing here is ever chosen instead of a local engine, or the other way.
"""

from __future__ import annotations

from sidecar.engines.remote.options import RemoteOptions, add_arguments, find_key, options_of, options_of_sidecar
from sidecar.engines.remote.scheduler import Connected, RemoteEngine, RemoteScheduler, connect

__all__ = [
    "Connected",
    "RemoteEngine",
    "RemoteOptions",
    "RemoteScheduler",
    "add_arguments",
    "connect",
    "find_key",
    "options_of",
    "options_of_sidecar",
]
