"""The HTTP side of a sidecar: native calls, and those of OpenAI's clients."""
