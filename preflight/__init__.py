"""What must hold before anything starts.

Constraint: this file and ``gate.py`` parse on CPython 2.7; the rest of the
package runs on CPython 3.8 or newer with the standard library alone.
"""
