"""The embedding server: one model, one inference thread, one local port."""
