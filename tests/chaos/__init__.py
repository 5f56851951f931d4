"""Ends, stops, starves and poisons real processes, and counts what a host would have noticed.

``python -m tests.chaos --help`` names the scenarios.
"""
