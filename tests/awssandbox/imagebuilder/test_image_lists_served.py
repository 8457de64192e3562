"""Images are listed, found by their tags, cancelled and deleted: by real calls.

Sources: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListImageBuildVersions.html,
https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CancelImageCreation.html,
https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DeleteImage.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from awssandbox.faults import Faults, parse
from served import ACCOUNT, REGION, Served, refusal
from test_images_served import ARN, RECIPE, Builds, simulated

Make = Callable[..., Served]
SLOW = {
    "service": "imagebuilder",
    "operation": "CreateImage",
    "fault": "slow_build",
    "seconds": 600,
    "times": "always",
}


@pytest.fixture
def builds(sandbox: Served) -> Builds:
    return Builds(sandbox)


@pytest.fixture
def slow(sandboxes: Make) -> Builds:
    return Builds(sandboxes(faults=Faults(parse(json.dumps([SLOW])))))


def build(builds: Builds, version: str = "1.2.3", name: str = "web", **more: Any) -> str:
    recipe = RECIPE.replace("web/1.2.3", f"{name}/{version}")
    arn: str = builds.create(imageRecipeArn=recipe, **more)["imageBuildVersionArn"]
    return arn


def listed(call: Callable[..., Any], member: str, **asked: Any) -> list[str]:
    return [one["arn"].partition(":image/")[2] for one in call(**asked)[member]]


def versions(builds: Builds, **asked: Any) -> list[str]:
    return listed(builds.client.list_images, "imageVersionList", **asked)


def summaries(builds: Builds, **asked: Any) -> list[str]:
    return listed(builds.client.list_image_build_versions, "imageSummaryList", **asked)


# Lists -------------------------------------------------------------------------------------------


def test_a_build_is_found_by_its_tag(builds: Builds) -> None:
    build(builds)
    wanted = build(builds, tags={"run": "x"})
    found = [
        one
        for page in builds.client.get_paginator("list_image_build_versions").paginate()
        for one in page["imageSummaryList"]
        if one.get("tags", {}).get("run") == "x"
    ]
    assert [one.pop("dateCreated")[:17] for one in found] == ["2026-01-31T09:00:"]
    assert found == [
        {
            "arn": wanted,
            "name": "web",
            "type": "AMI",
            "version": "1.2.3/2",
            "owner": ACCOUNT,
            "state": simulated(1, 1),
            "outputResources": {"amis": [], "containers": []},
            "tags": {"run": "x"},
        }
    ]


def test_lists_of_versions_and_of_builds(builds: Builds) -> None:
    for version in ("1.2.3", "1.2.3", "1.10.0"):
        build(builds, version)
    build(builds, "1.0.0", "api")
    assert versions(builds) == ["api/1.0.0", "web/1.10.0", "web/1.2.3"]
    everything = ["api/1.0.0/1", "web/1.10.0/1", "web/1.2.3/2", "web/1.2.3/1"]
    assert summaries(builds) == everything
    version = f"{ARN}:image/web/1.2.3"
    assert summaries(builds, imageVersionArn=version) == everything[2:]
    assert summaries(builds, imageVersionArn=f"{ARN}:image/web/1.2.4") == []
    entry = builds.client.list_images()["imageVersionList"][2]
    del entry["dateCreated"]
    assert entry == {
        "arn": version,
        "name": "web",
        "type": "AMI",
        "version": "1.2.3",
        "owner": ACCOUNT,
    }


FILTERS = [
    ([("name", "web")], ["web/1.2.3"]),
    ([("name", "w*")], ["web/1.2.3"]),
    ([("name", "*e*")], ["web/1.2.3"]),
    ([("name", "Web")], []),
    ([("version", "1.0.0")], ["api/1.0.0"]),
    ([("type", "AMI")], ["api/1.0.0", "web/1.2.3"]),
    ([("type", "DOCKER")], []),
    ([("type", "AMI"), ("version", "1.2.3")], ["web/1.2.3"]),
]


def test_filters(builds: Builds) -> None:
    build(builds)
    build(builds, "1.0.0", "api")
    for given, expected in FILTERS:
        asked = [{"name": name, "values": [value]} for name, value in given]
        assert versions(builds, filters=asked) == expected
        assert summaries(builds, filters=asked) == [f"{one}/1" for one in expected]
    for name, code in (
        ("platform", "NotImplemented"),
        ("osVersion", "NotImplemented"),
        ("colour", "InvalidParameterValueException"),
    ):
        asked = [{"name": name, "values": ["x"]}]
        assert refusal(builds.client.list_images, filters=asked)[0] == code


def test_owners_and_pages(builds: Builds) -> None:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        build(builds, version)
    assert versions(builds, owner="Shared") == []
    for asked in ({"owner": "Amazon"}, {"byName": True}):
        assert refusal(builds.client.list_images, **asked)[0] == "NotImplemented"
    for call, member in (
        (builds.client.list_images, "imageVersionList"),
        (builds.client.list_image_build_versions, "imageSummaryList"),
    ):
        first = call(maxResults=2)
        last = call(maxResults=2, nextToken=first["nextToken"])
        assert (len(first[member]), len(last[member]), "nextToken" in last) == (2, 1, False)


# A build that takes its time ---------------------------------------------------------------------


def state(builds: Builds, image: str) -> Any:
    return builds.client.get_image(imageBuildVersionArn=image)["image"]["state"]


def executions(builds: Builds, image: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = builds.client.list_workflow_executions(
        imageBuildVersionArn=image
    )["workflowExecutions"]
    return found


def test_a_slow_build_ends_by_itself(slow: Builds) -> None:
    image = build(slow)
    assert state(slow, image) == {"status": "BUILDING"}
    [running] = executions(slow, image)
    assert (running["status"], "endTime" in running) == ("RUNNING", False)
    assert slow.client.list_image_build_versions()["imageSummaryList"][0]["state"] == {
        "status": "BUILDING"
    }
    slow.sandbox.world.clock.advance(timedelta(seconds=601))
    assert state(slow, image) == simulated(1, 1)
    assert executions(slow, image)[0]["status"] == "CANCELLED"


def test_a_slow_build_is_cancelled_once_and_then_deleted(slow: Builds) -> None:
    image = build(slow, tags={"run": "x"})
    named = {"imageBuildVersionArn": image}
    assert refusal(slow.client.delete_image, **named)[:2] == ("ResourceDependencyException", 400)
    first, again = (
        slow.client.cancel_image_creation(**named, clientToken="token") for _ in range(2)
    )
    for answer in (first, again):
        assert answer.pop("ResponseMetadata")["RequestId"] == answer.pop("requestId")
        assert answer == {**named, "clientToken": "token"}
    ended = state(slow, image)
    assert (ended["status"], "CancelImageCreation" in ended["reason"]) == ("CANCELLED", True)
    [execution] = executions(slow, image)
    assert (execution["status"], execution["message"]) == ("CANCELLED", ended["reason"])
    slow.sandbox.world.clock.advance(timedelta(seconds=601))
    assert state(slow, image) == ended, "it does not end twice"
    assert refusal(slow.client.cancel_image_creation, **named)[:2] == (
        "InvalidRequestException",
        400,
    )
    assert refusal(
        slow.client.cancel_image_creation,
        imageBuildVersionArn=build(slow),
        clientToken="token",
    )[0] == ("IdempotentParameterMismatchException")
    assert slow.client.delete_image(**named)["imageBuildVersionArn"] == image
    assert refusal(slow.client.get_image, **named)[:2] == ("ResourceNotFoundException", 404)


def test_what_has_ended_is_not_cancelled_and_what_there_is_not_is_not_found(
    builds: Builds,
) -> None:
    named = {"imageBuildVersionArn": build(builds)}
    assert refusal(builds.client.cancel_image_creation, **named)[0] == "InvalidRequestException"
    builds.client.delete_image(**named)
    for call in (builds.client.delete_image, builds.client.cancel_image_creation):
        assert refusal(call, **named)[:2] == ("ResourceNotFoundException", 404)
    assert summaries(builds) == []


def test_a_deleted_build_leaves_the_numbers_of_the_others(builds: Builds) -> None:
    first, second = build(builds), build(builds)
    builds.client.delete_image(imageBuildVersionArn=first)
    assert build(builds) == second.replace("/2", "/3")


# Steps -------------------------------------------------------------------------------------------


def test_no_step_was_run(builds: Builds) -> None:
    """Sources: API_ListWorkflowStepExecutions.html, API_GetWorkflowStepExecution.html"""
    image = build(builds)
    [execution] = executions(builds, image)
    answer = builds.client.list_workflow_step_executions(
        workflowExecutionId=execution["workflowExecutionId"]
    )
    del answer["requestId"], answer["ResponseMetadata"]
    assert answer == {
        "steps": [],
        "imageBuildVersionArn": image,
        "workflowBuildVersionArn": builds.workflow,
        "workflowExecutionId": execution["workflowExecutionId"],
        "message": execution["message"],
    }
    none = "00000000-0000-4000-8000-000000000000"
    assert refusal(builds.client.list_workflow_step_executions, workflowExecutionId=f"wf-{none}")[
        :2
    ] == ("ResourceNotFoundException", 404)
    assert refusal(builds.client.get_workflow_step_execution, stepExecutionId=f"step-{none}") == (
        "ResourceNotFoundException",
        404,
        f"The resource with ARN '{ARN}:workflow-step-execution/step-{none}' does not exist.",
    )


# Permissions -------------------------------------------------------------------------------------


def test_each_call_needs_its_permission_on_its_resource(builds: Builds) -> None:
    """Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_imagebuilder.html"""
    image = build(builds, tags={"team": "images"})
    wf = executions(builds, image)[0]["workflowExecutionId"]
    step = "step-00000000-0000-4000-8000-000000000000"
    place = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}"
    cases: list[tuple[str, str, dict[str, str], str, str]] = [
        ("list_images", "ListImages", {}, "*", "allowed"),
        (
            "list_image_build_versions",
            "ListImageBuildVersions",
            {"imageVersionArn": f"{ARN}:image/web/1.2.3"},
            f"{ARN}:image/web/1.2.3",
            "allowed",
        ),
        (
            "cancel_image_creation",
            "CancelImageCreation",
            {"imageBuildVersionArn": image},
            image,
            "InvalidRequestException",
        ),
        (
            "list_workflow_step_executions",
            "ListWorkflowStepExecutions",
            {"workflowExecutionId": wf},
            f"{place}:workflow-execution/wf-*",
            "allowed",
        ),
        (
            "get_workflow_step_execution",
            "GetWorkflowStepExecution",
            {"stepExecutionId": step},
            f"{place}:workflow-step-execution/*",
            "ResourceNotFoundException",
        ),
        ("delete_image", "DeleteImage", {"imageBuildVersionArn": image}, image, "allowed"),
    ]
    user = builds.sandbox.user("reader")
    client = builds.sandbox.client("imagebuilder", user)
    for name, action, asked, resource, expected in cases:
        call = getattr(client, name)
        assert refusal(call, **asked)[0] == "AccessDeniedException", name
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Action": f"imagebuilder:{action}",
            "Resource": resource,
        }
        if resource == image:
            statement["Condition"] = {"StringEquals": {"aws:ResourceTag/team": "images"}}
        builds.iam.put_user_policy(
            UserName="reader",
            PolicyName=action,
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        if expected == "allowed":
            call(**asked)
        else:
            assert refusal(call, **asked)[0] == expected, name
