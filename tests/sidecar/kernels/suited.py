"""Whether this machine can run the kernels, and compile them."""

from __future__ import annotations

import shutil

import pytest

from sidecar.kernels import compiling

needs_kernels = pytest.mark.skipif(not compiling.is_suited(), reason="needs Linux, AVX2, and no AVX-512")
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C compiler")
