"""Semantic versions and their wildcards.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/ibhow-semantic-versioning.html
"""

from __future__ import annotations

import pytest
from awssandbox.imagebuilder.versions import (
    MAXIMUM_NODE,
    VersionBoundsError,
    VersionSyntaxError,
    WildcardOrderError,
    latest,
    parse_pattern,
    parse_version,
    version_references,
)
from hypothesis import given
from hypothesis import strategies as st

NODES = st.integers(0, MAXIMUM_NODE)
VERSIONS = st.builds("{}.{}.{}".format, NODES, NODES, NODES)
SMALL = st.builds("{}.{}.{}".format, *[st.integers(0, 3)] * 3)


@pytest.mark.parametrize("text", ["0.0.0", "1.2.3", "2021.01.01", f"{MAXIMUM_NODE}.0.0"])
def test_a_version_is_three_numbers(text: str) -> None:
    assert str(parse_version(text)) == text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1.2", VersionSyntaxError),
        ("1.2.3.4", VersionSyntaxError),
        ("1.2.3/1", VersionSyntaxError),
        ("1.2.x", VersionSyntaxError),
        ("-1.2.3", VersionSyntaxError),
        ("1.2.3\n", VersionSyntaxError),
        ("٣.0.0", VersionSyntaxError),
        ("", VersionSyntaxError),
        (f"{MAXIMUM_NODE + 1}.0.0", VersionBoundsError),
        (f"0.0.{MAXIMUM_NODE + 1}", VersionBoundsError),
        ("9" * 5000 + ".0.0", VersionBoundsError),
    ],
)
def test_anything_else_is_none(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_version(text)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("x.x.x", "2.2.4"), ("1.x.x", "1.7.8"), ("1.6.x", "1.6.8"), ("1.6.8", "1.6.8")],
)
def test_a_wildcard_selects_the_highest_version_as_on_the_page(pattern: str, found: str) -> None:
    versions = [parse_version(text) for text in ("1.6.8", "2.2.4", "1.7.8")]
    selected = latest(((v, 1, v) for v in versions), parse_pattern(pattern))
    assert selected is not None
    assert selected.text == found


@pytest.mark.parametrize("text", ["x.2.x", "1.x.8", "x.x.3", "x.2.3"])
def test_a_number_to_the_right_of_a_wildcard_is_an_error(text: str) -> None:
    with pytest.raises(WildcardOrderError):
        parse_pattern(text)


@pytest.mark.parametrize("text", ["X.X.X", "1.x", "1.*.*", "1.x.x/1"])
def test_other_wildcards_are_none(text: str) -> None:
    with pytest.raises(VersionSyntaxError):
        parse_pattern(text)


def test_a_pattern_keeps_the_bounds() -> None:
    with pytest.raises(VersionBoundsError):
        parse_pattern(f"{MAXIMUM_NODE + 1}.x.x")


def test_of_one_version_the_highest_build_is_the_latest() -> None:
    version = parse_version("1.0.0")
    builds = [(version, build, build) for build in (2, 10, 9)]
    assert latest(builds, parse_pattern("x.x.x")) == 10
    assert latest([], parse_pattern("x.x.x")) is None


def test_the_references_of_1_2_3_are_those_on_the_page() -> None:
    arn = "arn:aws:imagebuilder:us-west-2:123456789012:component/my-component"
    assert version_references(arn, parse_version("1.2.3")) == {
        "latestVersionArn": f"{arn}/x.x.x",
        "latestMajorVersionArn": f"{arn}/1.x.x",
        "latestMinorVersionArn": f"{arn}/1.2.x",
        "latestPatchVersionArn": f"{arn}/1.2.3",
    }


@given(VERSIONS)
def test_each_reference_of_a_version_matches_it(text: str) -> None:
    version = parse_version(text)
    for reference in version_references("arn:x", version).values():
        assert parse_pattern(reference.rpartition("/")[2]).matches(version)


@given(st.lists(SMALL, min_size=1), st.sampled_from(["x.x.x", "1.x.x", "1.2.x", "1.2.3"]))
def test_the_latest_is_a_match_that_no_other_match_is_above(texts: list[str], text: str) -> None:
    pattern = parse_pattern(text)
    versions = [parse_version(each) for each in texts]
    selected = latest(((v, 1, v) for v in versions), pattern)
    matches = [v for v in versions if pattern.matches(v)]
    if selected is None:
        assert not matches
    else:
        assert selected in matches
        assert all(v.nodes <= selected.nodes for v in matches)


@given(VERSIONS, VERSIONS)
def test_versions_are_ordered_as_numbers_node_by_node(one: str, other: str) -> None:
    first, second = parse_version(one), parse_version(other)
    numbers = [tuple(int(node) for node in text.split(".")) for text in (one, other)]
    assert (first.nodes < second.nodes) == (numbers[0] < numbers[1])


@given(SMALL, SMALL)
def test_a_pattern_without_wildcards_matches_its_own_version_only(one: str, other: str) -> None:
    assert parse_pattern(one).matches(parse_version(other)) == (one == other)
