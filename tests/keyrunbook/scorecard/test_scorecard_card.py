"""The scorecard as a whole: exit status, JSON, JUnit, pictures, tables; and the inventory."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from accounts import BAD, DENIED, GOOD, KMS_KEY, UNREAD
from keyrunbook.scorecard import RECOMMENDATIONS, judge
from keyrunbook.scorecard.encryption import inventory
from keyrunbook.scorecard.facts import Facts, Resources
from keyrunbook.scorecard.resources import (
    COMPONENT,
    CONTAINER_RECIPE,
    DISTRIBUTION,
    IMAGE_RECIPE,
    INFRASTRUCTURE,
    PIPELINE,
    WORKFLOW,
    of_image_builder,
    of_key,
)
from keyrunbook.show.scorecard import picture

ONLY_WARNINGS = replace(GOOD, macie="PAUSED", endpoints=GOOD.endpoints)

SVG = "{http://www.w3.org/2000/svg}"
WIDEST_PX = 7.6
"""A letter's mean width in the picture's size, of wide fonts."""


@pytest.mark.parametrize(
    ("facts", "status"),
    [(GOOD, 0), (BAD, 1), (UNREAD, 3), (ONLY_WARNINGS, 0), (replace(GOOD, macie=DENIED), 0),
     (replace(BAD, root=DENIED), 1), (replace(GOOD, root=DENIED), 3)],
)  # fmt: skip
def test_the_exit_status(facts: Facts, status: int) -> None:
    assert judge(facts, "here").exit_status == status


def test_json_has_every_recommendation() -> None:
    card = judge(BAD, "account 1, us-west-2", "embedded sandbox, not AWS")
    told = json.loads(json.dumps(card.to_dict()))
    assert [one["name"] for one in told["findings"]] == [one.name for one in RECOMMENDATIONS]
    first = told["findings"][0]
    assert set(first) == {"name", "level", "page", "statement", "status", "evidence", "mend"}
    assert (told["exit_status"], told["not_aws"]) == (1, "embedded sandbox, not AWS")
    assert told["inventory"][0]["encrypted_with"] == "service-owned key"


def test_junit_fails_what_failed_and_is_an_error() -> None:
    root = ElementTree.fromstring(judge(BAD, "here").junit())
    kinds = Counter(child.tag for case in root for child in case)
    card = judge(BAD, "here")
    assert int(root.attrib["tests"]) == len(RECOMMENDATIONS)
    assert kinds["failure"] == card.count("fail", "error") == int(root.attrib["failures"])
    assert kinds["skipped"] == int(root.attrib["skipped"])
    (macie,) = [case for case in root if case.attrib["name"] == "services.macie"]
    assert [child.tag for child in macie] == ["skipped"]


def test_the_picture_says_in_words_what_it_shows_and_whom_was_asked() -> None:
    shown = picture(judge(UNREAD, "account 1, us-west-2", "embedded sandbox, not AWS"))
    assert "embedded sandbox, not AWS" in shown.text()
    assert "- mfa.root: ? not checked" in shown.text()
    drawn = ElementTree.fromstring(shown.svg())
    words = [text.text or "" for text in drawn.iter(f"{SVG}text")]
    assert any("embedded sandbox, not AWS" in said for said in words)
    for row in judge(UNREAD, "here").rows:
        assert any(said.endswith(row.name.partition(".")[2]) for said in words)
    assert {"✓", "?", "–"} <= {said[0] for said in words}
    html = shown.mimebundle()["text/html"]
    assert 'alt="Data protection: account 1' in html
    assert shown.svg() == shown.svg()


def test_chips_do_not_lie_on_each_other_and_hold_their_words() -> None:
    drawn = ElementTree.fromstring(picture(judge(BAD, "account 111122223333, us-west-2 <&>")).svg())
    _, _, width, height = map(float, drawn.attrib["viewBox"].split())
    chips = [
        [float(rect.attrib[name]) for name in ("x", "y", "width", "height")]
        for rect in drawn.iter(f"{SVG}rect")
        if "rx" in rect.attrib
    ]
    assert len(chips) == len(RECOMMENDATIONS)
    for number, (x, y, w, h) in enumerate(chips):
        assert x > 0
        assert x + w < width
        assert y + h < height
        for x2, y2, w2, h2 in chips[:number]:
            assert x >= x2 + w2 or x2 >= x + w or y >= y2 + h2 or y2 >= y + h
    longest = max(len(row.name.partition(".")[2]) for row in judge(BAD, "here").rows)
    assert (longest + 2) * WIDEST_PX < chips[0][2]


@pytest.mark.parametrize("ink", ["pass", "fail", "not checked", "not checkable"])
def test_text_stands_out_from_its_ground(ink: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1. https://www.w3.org/TR/WCAG22/#contrast-minimum"""
    from keyrunbook.show.scorecard import _COLOURS

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted(map(luminance, _COLOURS[ink]), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_table_names_the_level_and_how_to_mend() -> None:
    text = judge(BAD, "here").table().text()
    assert "mfa.root (error)" in text
    assert "services.macie (warning)" in text
    assert "mend: Sign in as root" in text


# The inventory -----------------------------------------------------------------------------------

ARN = "arn:aws:imagebuilder:us-west-2:111122223333:x/y/1.0.0"
AWS_ALIAS = "arn:aws:kms:us-west-2:111122223333:alias/aws/imagebuilder"
EBS = {"blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {}}]}


def ebs(**more: Any) -> dict[str, Any]:
    return {"blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": more}, {"noDevice": ""}]}


INVENTORY: list[tuple[str, str, dict[str, Any], bool, list[str]]] = [
    # kind, what it says, as AWS answers, EBS by default, encrypted with
    (WORKFLOW, "nothing", {}, True, ["service-owned key"]),
    (WORKFLOW, "our key", {"kmsKeyId": KMS_KEY}, True, ["customer managed key"]),
    (WORKFLOW, "AWS's alias", {"kmsKeyId": AWS_ALIAS}, True, ["AWS managed key"]),
    (WORKFLOW, "a stranger's", {"kmsKeyId": "arn:aws:kms:us-west-2:444455556666:key/2"}, True,
     ["not known"]),
    (COMPONENT, "nothing", {"encrypted": True}, True, ["default key or service-owned key"]),
    (COMPONENT, "our key", {"encrypted": True, "kmsKeyId": KMS_KEY}, True,
     ["customer managed key"]),
    (IMAGE_RECIPE, "no volume", {}, True, []),
    (IMAGE_RECIPE, "our key", ebs(encrypted=True, kmsKeyId=KMS_KEY), False,
     ["customer managed key"]),
    (IMAGE_RECIPE, "encrypted", ebs(encrypted=True), False, ["default key"]),
    (IMAGE_RECIPE, "nothing", ebs(), True, ["default key"]),
    (IMAGE_RECIPE, "nothing, and no default", ebs(), False, ["not encrypted"]),
    (IMAGE_RECIPE, "not encrypted, and a default", ebs(encrypted=False), True, ["default key"]),
    (CONTAINER_RECIPE, "both", {"kmsKeyId": KMS_KEY, "instanceConfiguration": ebs()}, False,
     ["customer managed key", "not encrypted"]),
    (INFRASTRUCTURE, "nothing", {}, True, ["service-owned key"]),
    (DISTRIBUTION, "two Regions", {"distributions": [
        {"region": "us-west-2", "amiDistributionConfiguration": {"kmsKeyId": KMS_KEY}},
        {"region": "us-east-1", "amiDistributionConfiguration": {}}, {"region": "eu-west-1"}]},
     True, ["service-owned key", "customer managed key", "as the image's volumes"]),
    (PIPELINE, "nothing", {}, True, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "says", "answer", "by_default", "expected"),
    INVENTORY,
    ids=[f"{one[0]}: {one[1]}" for one in INVENTORY],
)
def test_what_a_resource_is_encrypted_with(
    kind: str, says: str, answer: dict[str, Any], by_default: bool, expected: list[str]
) -> None:
    found = of_image_builder(kind, {"arn": ARN, "name": "y", **answer})
    facts = replace(GOOD, ebs_by_default=by_default, resources=Resources((found,)))
    assert [one.encrypted_with for one in inventory(facts)] == expected


def test_what_was_not_read_is_in_the_inventory() -> None:
    entries = inventory(UNREAD)
    assert {one.encrypted_with for one in entries} == {"not known"}
    assert "all workflows" in {one.arn for one in entries}
    assert not any("KMS" in one.arn for one in entries)


def test_every_free_text_is_looked_at() -> None:
    """Names, descriptions, and tags by key and value: of what is made, too."""
    to = {"targetAccountIds": ["444455556666"], "launchPermission": {"userIds": ["1"]}}
    ami = {"name": "n", "description": "d", "amiTags": {"k": "v"}, **to}
    given = {
        WORKFLOW: ({"changeDescription": "c", "data": "x"}, {"changeDescription"}),
        IMAGE_RECIPE: ({"amiTags": {"a": "b"}}, {"AMI tag a"}),
        INFRASTRUCTURE: ({"resourceTags": {"a": "b"}}, {"resource tag a"}),
        PIPELINE: ({"imageTags": {"a": "b"}}, {"image tag a"}),
        DISTRIBUTION: (
            {"distributions": [{"region": "r", "amiDistributionConfiguration": ami}]},
            {"r: AMI name", "r: AMI description", "r: AMI tag k"},
        ),
    }
    common = {"arn": ARN, "name": "y", "description": "d", "tags": {"t": "u"}}
    for kind, (more, places) in given.items():
        found = of_image_builder(kind, {**common, **more})
        assert set(found.texts) == {"name", "description", "tag t"} | places
        assert found.texts["tag t"] == "t=u"
    shared = of_image_builder(DISTRIBUTION, {**common, **given[DISTRIBUTION][0]}).shared_with
    assert shared == ("444455556666", "1")
    key = of_key({"Arn": KMS_KEY, "Description": "d"}, {"t": "u"}, ["alias/a", "alias/b"])
    assert set(key.texts) == {"description", "tag t", "alias 1", "alias 2"}
