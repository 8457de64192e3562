"""Tags of workflows and images after their creation, by real calls.

Sources: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_TagResource.html,
https://docs.aws.amazon.com/imagebuilder/latest/userguide/tag-resources.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/list_imagebuilder.html
"""

from __future__ import annotations

from typing import Any

import pytest
from served import ACCOUNT, REGION, Served, refusal
from test_images_served import Builds

NONE = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:workflow/build/none/1.0.0/1"
RECIPE = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image-recipe/web/1.2.3"
PIPELINE = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image-pipeline/web"


@pytest.fixture
def builds(sandbox: Served) -> Builds:
    return Builds(sandbox)


def tags_of(builds: Builds, arn: str) -> dict[str, str]:
    answer: dict[str, str] = builds.client.list_tags_for_resource(resourceArn=arn)["tags"]
    return answer


@pytest.mark.parametrize("kind", ["workflow", "image"])
def test_tags_are_put_on_replaced_and_taken_off(builds: Builds, kind: str) -> None:
    first = {"team": "images", "stage": "test"}
    arn = (
        builds.new("tagged", tags=first)
        if kind == "workflow"
        else builds.create(tags=first)["imageBuildVersionArn"]
    )
    assert tags_of(builds, arn) == first
    builds.client.tag_resource(resourceArn=arn, tags={"stage": "live", "owner": "me"})
    assert tags_of(builds, arn) == {"team": "images", "stage": "live", "owner": "me"}
    builds.client.untag_resource(resourceArn=arn, tagKeys=["stage", "never"])
    left = {"team": "images", "owner": "me"}
    assert tags_of(builds, arn) == left
    read = (
        builds.client.list_workflow_build_versions()["workflowSummaryList"][-1]
        if kind == "workflow"
        else builds.client.get_image(imageBuildVersionArn=arn)["image"]
    )
    assert (read["arn"], read["tags"]) == (arn, left)


def test_tags_are_a_build_version_s(builds: Builds) -> None:
    second = builds.new("secret", description="another")
    builds.client.tag_resource(resourceArn=second, tags={"a": "b"})
    assert (tags_of(builds, second), tags_of(builds, builds.workflow)) == ({"a": "b"}, {})


def test_the_key_is_not_asked_for_tags(builds: Builds) -> None:
    before = len(builds.sandbox.records("Decrypt"))
    builds.client.tag_resource(resourceArn=builds.workflow, tags={"a": "b"})
    assert builds.client.get_workflow(workflowBuildVersionArn=builds.workflow)["workflow"]["data"]
    assert len(builds.sandbox.records("Decrypt")) == before + 1


def test_at_most_50_tags(builds: Builds) -> None:
    builds.client.tag_resource(resourceArn=builds.workflow, tags={f"k{n}": "" for n in range(50)})
    builds.client.tag_resource(resourceArn=builds.workflow, tags={"k0": "again"})
    assert refusal(builds.client.tag_resource, resourceArn=builds.workflow, tags={"more": ""}) == (
        "InvalidParameterException",
        400,
        "The value supplied for parameter 'tags' is not valid. A resource can have up to 50 tags.",
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tags": {"aws:x": "y"}}, "InvalidParameterException"),
        ({"tags": {"x": "y" * 257}}, "InvalidParameterException"),
        ({"tags": {"x" * 129: "y"}}, "InvalidParameterException"),
        ({"resourceArn": NONE}, "ResourceNotFoundException"),
        ({"resourceArn": NONE.removesuffix("/1")}, "ResourceNotFoundException"),
        ({"resourceArn": "arn:aws:kms:us-west-2:111122223333:key/x"}, "InvalidParameterException"),
        ({"resourceArn": RECIPE}, "ResourceNotFoundException"),
        ({"resourceArn": PIPELINE}, "NotImplemented"),
    ],
)
def test_what_tag_resource_refuses(builds: Builds, changes: dict[str, Any], code: str) -> None:
    given = {"resourceArn": builds.workflow, "tags": {"x": "y"}} | changes
    assert refusal(builds.client.tag_resource, **given)[0] == code
    if "resourceArn" in changes:
        arn = changes["resourceArn"]
        assert refusal(builds.client.untag_resource, resourceArn=arn, tagKeys=["x"])[0] == code
        assert refusal(builds.client.list_tags_for_resource, resourceArn=arn)[0] == code


@pytest.mark.parametrize(
    ("condition", "may"),
    [
        ({"StringEquals": {"aws:RequestedRegion": REGION}}, {"tag", "untag", "list"}),
        ({"StringEquals": {"aws:RequestTag/team": "images"}}, {"tag"}),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}, {"tag", "untag", "list"}),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["other"]}}, {"list"}),
        ({"StringEquals": {"aws:ResourceTag/owner": "me"}}, {"tag", "untag", "list"}),
        ({"StringEquals": {"aws:ResourceTag/owner": "you"}}, set()),
    ],
)
def test_conditions_on_tags(builds: Builds, condition: dict[str, Any], may: set[str]) -> None:
    arn = builds.new("tagged", tags={"owner": "me"})
    names = ("TagResource", "UntagResource", "ListTagsForResource")
    statement = {
        "Effect": "Allow",
        "Action": [f"imagebuilder:{name}" for name in names],
        "Resource": arn,
        "Condition": condition,
    }
    client = builds.sandbox.client("imagebuilder", builds.sandbox.user("tagger", statement))
    calls = {
        "tag": lambda: client.tag_resource(resourceArn=arn, tags={"team": "images"}),
        "untag": lambda: client.untag_resource(resourceArn=arn, tagKeys=["team"]),
        "list": lambda: client.list_tags_for_resource(resourceArn=arn),
    }
    for name, call in calls.items():
        if name in may:
            call()
        else:
            assert refusal(call)[:2] == ("AccessDeniedException", 403)
    other = builds.workflow
    assert refusal(client.list_tags_for_resource, resourceArn=other)[0] == "AccessDeniedException"
