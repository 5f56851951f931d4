"""Making environments; ``provisioning`` is the way in.

Constraint: standard library alone, importable on a bare Python.
"""
