"""Whether a version is within a range such as ``>=3.13,<4`` (PEP 440).

The operators that our own ranges use are here: a bare Python has no
``packaging``, and importing it takes longer than all else that a report does.
It answers where it is installed and something else is asked; the tests hold
the two against each other.

Constraint: CPython 3.8 or newer, standard library alone; pure.
"""

from __future__ import annotations

import importlib.util
import re
from typing import Any, Callable, NamedTuple, Tuple, Union

_VERSION = re.compile(
    r"""\s*v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)
    (?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>\d*))?
    (?P<post>-(?P<post_bare>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_number>\d*))?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_number>\d*))?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_CLAUSE = re.compile(r"\s*(==|!=|<=|>=|<)\s*([^\s*=<>~]+)\s*")
_PRE_LETTERS = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}

#: Sort before and after every real part.
_LOWEST, _HIGHEST = (-1,), (1,)
_Part = Tuple[Union[int, str], ...]


class Version(NamedTuple):
    """A version taken apart; ``None`` parts are absent."""

    epoch: int
    release: tuple[int, ...]
    pre: tuple[str, int] | None
    post: int | None
    dev: int | None
    local: tuple[int | str, ...] | None

    @property
    def public_key(self) -> tuple[Any, ...]:
        """Order of versions, the local part left out."""
        release = self.release
        while len(release) > 1 and release[-1] == 0:
            release = release[:-1]
        if self.pre is not None:
            pre: _Part = (0, *self.pre)
        else:
            only_dev = self.post is None and self.dev is not None
            pre = _LOWEST if only_dev else _HIGHEST
        post: _Part = _LOWEST if self.post is None else (0, self.post)
        dev: _Part = _HIGHEST if self.dev is None else (0, self.dev)
        return (self.epoch, release, pre, post, dev)

    @property
    def key(self) -> tuple[Any, ...]:
        """Order of versions: numbers of the local part sort after words, and any local part after none."""
        local = () if self.local is None else tuple((1, p, "") if isinstance(p, int) else (0, 0, p) for p in self.local)
        return (*self.public_key, self.local is not None, local)


def parse(text: str) -> Version:
    """Take a version apart. Raises ``ValueError`` when it is not one."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a version: {text!r}")
    letters = (match["pre"] or "").lower()
    post = match["post_bare"] or match["post_number"] or 0
    return Version(
        epoch=int(match["epoch"] or 0),
        release=tuple(int(part) for part in match["release"].split(".")),
        pre=(_PRE_LETTERS.get(letters, letters), int(match["pre_number"] or 0)) if letters else None,
        post=int(post) if match["post"] else None,
        dev=int(match["dev_number"] or 0) if match["dev"] else None,
        local=_local(match["local"]),
    )


def contains(specifier: str, version: str) -> bool:
    """Tell whether ``version`` is within ``specifier``; pre-releases count like any other.

    Raises ``ValueError`` when either cannot be read.
    """
    try:
        return contains_by_stdlib(specifier, version)
    except ValueError:  # an operator that our own ranges do not use, or no version at all
        if importlib.util.find_spec("packaging") is None:
            raise
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version as PackagingVersion

    return SpecifierSet(specifier).contains(PackagingVersion(version), prereleases=True)


def contains_by_stdlib(specifier: str, version: str) -> bool:
    """As ``contains``, with the standard library alone; knows ``== != <= >= <`` without wildcards."""
    parsed = parse(version)
    return all(_clause_holds(clause, parsed) for clause in specifier.split(",") if clause.strip())


def _local(text: str | None) -> tuple[int | str, ...] | None:
    if text is None:
        return None
    return tuple(int(part) if part.isdigit() else part.lower() for part in re.split(r"[-_.]", text))


def _clause_holds(clause: str, version: Version) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        raise ValueError(f"not a version range: {clause!r}")
    return _OPERATORS[match[1]](version, parse(match[2]))


def _equal(version: Version, wanted: Version) -> bool:
    return version.key == wanted.key if wanted.local is not None else version.public_key == wanted.public_key


def _less(version: Version, wanted: Version) -> bool:
    """``<2.0`` leaves out ``2.0rc1`` too, unless the range itself names a pre-release."""
    if version.public_key >= wanted.public_key:
        return False
    if _is_prerelease(wanted) or not _is_prerelease(version):
        return True
    return _base(version) != _base(wanted)


def _is_prerelease(version: Version) -> bool:
    return version.pre is not None or version.dev is not None


def _base(version: Version) -> tuple[Any, ...]:
    return Version(version.epoch, version.release, None, None, None, None).public_key


_OPERATORS: dict[str, Callable[[Version, Version], bool]] = {
    "==": _equal,
    "!=": lambda version, wanted: not _equal(version, wanted),
    "<=": lambda version, wanted: version.public_key <= wanted.public_key,
    ">=": lambda version, wanted: version.public_key >= wanted.public_key,
    "<": _less,
}
