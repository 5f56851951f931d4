"""What is made inside trusts nobody, and nothing stays changed."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest

from preflight.wire import certificates
from tests.preflight.interpreters import ROOT


def test_contexts_made_inside_trust_nobody_and_still_check() -> None:
    with certificates.not_loaded():
        context = ssl.create_default_context()
    assert context.cert_store_stats()["x509"] == 0
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_library_s_import_reads_no_certificate() -> None:
    code = (
        "from preflight.wire import certificates\n"
        "with certificates.not_loaded(): from aiohttp import connector\n"
        "contexts = connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED\n"
        "print([context.cert_store_stats()['x509'] for context in contexts])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[0, 0]\n"


def test_the_system_is_as_before_even_when_the_import_fails() -> None:
    before = ssl.SSLContext.load_default_certs, ssl.SSLContext.set_default_verify_paths
    with pytest.raises(ImportError), certificates.not_loaded():
        raise ImportError
    assert (ssl.SSLContext.load_default_certs, ssl.SSLContext.set_default_verify_paths) == before


@pytest.mark.parametrize("module", ["sidecar.life", "supervisor.cli"])
def test_whoever_serves_imports_the_library_inside(module: str) -> None:
    """The library's own context is made once, by its first import: that must be ours."""
    code = f"import sys, {module}; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
