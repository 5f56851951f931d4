"""Whether this machine can run the kernels, and compile them."""

from __future__ import annotations

import shutil

import pytest

from sidecar.kernels import compiling

_HAS_COMPILER = any(map(shutil.which, ("cc", "gcc", "clang")))

needs_compiler = pytest.mark.skipif(not _HAS_COMPILER, reason="needs a C compiler")
needs_kernels = pytest.mark.skipif(
    not (compiling.is_suited() and _HAS_COMPILER), reason="needs Linux, AVX2 without AVX-512, and a C compiler"
)
