"""Transformer layers in 16-bit integers for processors with AVX2: C, compiled where a compiler is at hand.

``compiling`` finds or makes the library, ``binding`` calls it. docs/engine.md says why it is there.
"""
