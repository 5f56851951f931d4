from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

#: Files that take longest, the longest first: handed out late, they would keep one worker busy when the other is done.
_LONGEST = (
    "tests/sidecar/prepare/test_families.py",
    "tests/integration/test_main_job.py",
    "tests/sidecar/engines/test_torch.py",
    "tests/bundle/test_bundle.py",
    "tests/sidecar/prepare/test_verify.py",
    "tests/sidecar/test_main.py",
    "tests/supervisor/test_serve.py",
    "tests/clients/test_typescript.py",
    "tests/integration/test_bad_input.py",
    "tests/page/test_page.py",
    "tests/supervisor/test_runtime.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin; the rest follows as it was collected."""
    ranks = {name: rank for rank, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))
