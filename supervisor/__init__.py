"""Starts, watches and replaces the sidecar; the host sees one stable address."""
