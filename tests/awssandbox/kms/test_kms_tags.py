"""Tags of keys.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/tagging-keys.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from kms_setting import Kms, allow, kms_served, outcome, refused


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        yield served


def tags(**pairs: str) -> list[dict[str, str]]:
    """Tags as KMS's shapes have them."""
    return [{"TagKey": key, "TagValue": value} for key, value in pairs.items()]


def test_a_tag_is_added_replaced_and_taken_away(kms: Kms) -> None:
    key = kms.key(Tags=tags(a="1", b="2"))
    kms.admin.tag_resource(KeyId=key, Tags=tags(b="3", c=""))
    assert kms.admin.list_resource_tags(KeyId=key)["Tags"] == tags(a="1", b="3", c="")
    kms.admin.untag_resource(KeyId=key, TagKeys=["a", "not there"])
    assert kms.admin.list_resource_tags(KeyId=key)["Tags"] == tags(b="3", c="")


def test_tag_keys_that_differ_in_letter_case_are_two(kms: Kms) -> None:
    key = kms.key(Tags=tags(Owner="x", owner="y"))
    assert kms.admin.list_resource_tags(KeyId=key)["Tags"] == tags(Owner="x", owner="y")


REFUSED: list[tuple[str, Sequence[dict[str, str]], str]] = [
    ("a reserved key", [{"TagKey": "aws:k", "TagValue": ""}], "TagException"),
    ("a key twice", [*tags(a="1"), *tags(a="2")], "TagException"),
    ("more than fifty", tags(**{f"k{i}": "" for i in range(51)}), "TagException"),
    ("an empty key", [{"TagKey": "", "TagValue": ""}], "ValidationException"),
    ("a long key", [{"TagKey": "k" * 129, "TagValue": ""}], "ValidationException"),
    ("a long value", [{"TagKey": "k", "TagValue": "v" * 257}], "ValidationException"),
]


@pytest.mark.parametrize(("what", "given", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_tags_that_are_refused(
    kms: Kms, what: str, given: Sequence[dict[str, str]], code: str
) -> None:
    key = kms.key(Tags=tags(kept="1"))
    assert refused(kms.admin.tag_resource, KeyId=key, Tags=given)[0] == code, what
    assert kms.admin.list_resource_tags(KeyId=key)["Tags"] == tags(kept="1")


def test_fifty_tags_in_all_and_by_pages(kms: Kms) -> None:
    key = kms.key(Tags=tags(**{f"k{i:02}": str(i) for i in range(49)}))
    assert outcome(kms.admin.tag_resource, KeyId=key, Tags=tags(x="", y="")) == "TagException"
    kms.admin.tag_resource(KeyId=key, Tags=tags(x=""))
    first = kms.admin.list_resource_tags(KeyId=key, Limit=20)
    assert (len(first["Tags"]), first["Truncated"]) == (20, True)
    rest = kms.admin.list_resource_tags(KeyId=key, Marker=first["NextMarker"])
    assert (len(rest["Tags"]), rest["Truncated"]) == (30, False)


def test_a_condition_on_which_tags_are_given(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/tag-permissions.html"""
    key = kms.key()
    only = {"ForAllValues:StringEquals": {"aws:TagKeys": ["Purpose"]}}
    client = kms.user("Tagger", allow("TagResource", "UntagResource", Condition=only))
    assert outcome(client.tag_resource, KeyId=key, Tags=tags(Purpose="x")) == "allowed"
    both = tags(Purpose="x", Owner="y")
    assert outcome(client.tag_resource, KeyId=key, Tags=both) == "AccessDeniedException"
    assert outcome(client.untag_resource, KeyId=key, TagKeys=["Purpose"]) == "allowed"
    assert outcome(client.untag_resource, KeyId=key, TagKeys=["Owner"]) == "AccessDeniedException"
