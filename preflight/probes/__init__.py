"""The only I/O of preflight: each module looks at one thing, and ``collecting`` at everything.

A probe never raises for what it looks at; what it could not learn is said in
the facts. Nothing heavy is imported: a package is found, not loaded. Whoever
needs one probe imports its module alone: together they cost a start 30 ms.
"""
