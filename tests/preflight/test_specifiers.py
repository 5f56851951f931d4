"""The stand-in for ``packaging`` answers as ``packaging`` does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from preflight.dependencies import DEPENDENCIES
from preflight.specifiers import contains, contains_by_stdlib, parse

# Few numbers, so that equal and neighbouring versions meet often.
numbers = st.sampled_from(["0", "1", "2", "10"])
releases = st.lists(numbers, min_size=1, max_size=4).map(".".join)
locals_ = st.sampled_from(["", "", "+cpu", "+cpu.1", "+2", "+Ubuntu-1"])


@st.composite
def public_versions(draw: st.DrawFn) -> str:
    epoch = draw(st.sampled_from(["", "", "", "1!"]))
    pre = draw(st.sampled_from(["", "", "", "a1", "b0", "rc2", ".alpha-1", "c1", "-preview"]))
    post = draw(st.sampled_from(["", "", "", ".post1", "-2", ".rev", "r3"]))
    dev = draw(st.sampled_from(["", "", "", ".dev0", "dev3", "_dev"]))
    return epoch + draw(releases) + pre + post + dev


versions = st.builds(lambda public, local: public + local, public_versions(), locals_)


clauses = st.one_of(
    st.builds(str.__add__, st.sampled_from(["==", "!="]), versions),
    st.builds(str.__add__, st.sampled_from(["<=", ">="]), public_versions()),
    # Releases of packaging differ on the pre-releases of 1.0 in "<1.0.post1".
    st.builds(str.__add__, st.just("<"), public_versions().filter(lambda text: parse(text).post is None)),
)


@given(versions, versions)
def test_versions_sort_as_packaging_sorts_them(one: str, other: str) -> None:
    assert (parse(one).key < parse(other).key) == (Version(one) < Version(other))
    assert (parse(one).key == parse(other).key) == (Version(one) == Version(other))


@given(st.lists(clauses, max_size=3).map(",".join), versions)
def test_ranges_hold_the_same_versions(specifier: str, version: str) -> None:
    expected = SpecifierSet(specifier).contains(version, prereleases=True)
    assert contains_by_stdlib(specifier, version) == expected
    assert contains(specifier, version) == expected


@given(st.text(alphabet="0123456789.abrcdevpost+-_! v", max_size=12))
def test_what_is_no_version_is_none_here_either(text: str) -> None:
    try:
        Version(text)
    except ValueError:
        with pytest.raises(ValueError, match="not a version"):
            parse(text)
    else:
        parse(text)


@given(versions)
def test_our_own_ranges_agree(version: str) -> None:
    for dependency in DEPENDENCIES:
        assert contains_by_stdlib(dependency.specifier, version) == contains(dependency.specifier, version)


@pytest.mark.parametrize("specifier", ["3.13", ">>1", ">=", "=>1", ">=x", ">=1.*"])
def test_a_bad_range_is_an_error(specifier: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        contains_by_stdlib(specifier, "1.0")
    with pytest.raises((ValueError, InvalidSpecifier)):
        contains(specifier, "1.0")


def test_a_build_of_the_pinned_release_is_in_range() -> None:
    assert contains_by_stdlib(">=2.13,<2.14", "2.13.0+cpu")
    assert contains_by_stdlib("==2.13.0", "2.13.0+cpu")
    assert not contains_by_stdlib("==2.13.0+cpu", "2.13.0")
    assert not contains_by_stdlib("<4", "4.0rc1")
