"""Files into a store: read, cut, embed and write, resumable after a kill at any point.

``cli`` is the way in from a command line, ``run.ingest`` from a program.
"""
