"""Engines: what turns token ids into vectors. ``base`` holds what they share."""
