"""Measurements, each a command: ratios and medians, never a verdict."""
