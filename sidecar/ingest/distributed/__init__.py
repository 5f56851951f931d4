"""Engines on several machines: one run reads and writes, Ray's nodes embed.

``connecting.connect`` is the way in. Nothing outside ``cluster`` and ``worker`` knows Ray.
"""
