"""What became of each workflow in a build, as ListWorkflowExecutions and GetWorkflowExecution say.

Sources:
https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListWorkflowExecutions.html,
https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetWorkflowExecution.html
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from served import ACCOUNT, REGION, START, Served, refusal
from test_images_served import ARN, Builds

READ = "Simulated build: the execution role could read the workflow; no step was run."
NEVER = "Simulated build: the build failed before it came to this workflow."
NONE = "wf-00000000-0000-4000-8000-000000000000"


@pytest.fixture
def builds(sandbox: Served) -> Builds:
    return Builds(sandbox)


def executions(builds: Builds, image: str) -> list[dict[str, Any]]:
    answer = builds.client.list_workflow_executions(imageBuildVersionArn=image)
    assert answer["imageBuildVersionArn"] == image
    found: list[dict[str, Any]] = answer["workflowExecutions"]
    return found


def test_a_workflow_that_the_role_could_read_was_cancelled_and_says_that_no_step_ran(
    builds: Builds,
) -> None:
    image = builds.create()["imageBuildVersionArn"]
    [entry] = executions(builds, image)
    assert re.fullmatch(
        "wf-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", entry["workflowExecutionId"]
    )
    day = START.strftime("%Y-%m-%dT09:00:")
    assert entry["startTime"].startswith(day)
    assert entry == {
        "workflowBuildVersionArn": builds.workflow,
        "workflowExecutionId": entry["workflowExecutionId"],
        "type": "BUILD",
        "status": "CANCELLED",
        "message": READ,
        "startTime": entry["startTime"],
        "endTime": entry["startTime"],
    }
    read = builds.client.get_workflow_execution(workflowExecutionId=entry["workflowExecutionId"])
    del read["ResponseMetadata"], read["requestId"]
    assert read == {**entry, "imageBuildVersionArn": image}


def test_a_failed_workflow_and_those_after_it(builds: Builds) -> None:
    plain, late = builds.new("plain"), builds.new("late", "TEST")
    builds.iam.delete_role_policy(RoleName="Execution", PolicyName="inline")
    image = builds.create(late, plain, builds.workflow)["imageBuildVersionArn"]
    found = executions(builds, image)
    assert [(one["workflowBuildVersionArn"], one["status"]) for one in found] == [
        (plain, "CANCELLED"),
        (builds.workflow, "FAILED"),
        (late, "CANCELLED"),
    ]
    assert [found[0]["message"], found[2]["message"]] == [READ, NEVER]
    state = builds.client.get_image(imageBuildVersionArn=image)["image"]["state"]
    assert f"'{found[1]['workflowExecutionId']}' failed with reason: " in state["reason"]
    assert found[1]["message"] in state["reason"]
    assert "AccessDeniedException" in found[1]["message"]
    assert len({one["workflowExecutionId"] for one in found}) == 3


def test_a_build_whose_role_cannot_be_assumed_came_to_no_workflow(builds: Builds) -> None:
    image = builds.create(executionRole="Nobody")["imageBuildVersionArn"]
    assert [one["message"] for one in executions(builds, image)] == [NEVER]


def test_a_parallel_group_is_told_and_managed_workflows_have_no_entry(builds: Builds) -> None:
    test = builds.new("test", "TEST")
    managed = f"arn:aws:imagebuilder:{REGION}:aws:workflow/build/build-image/x.x.x"
    entries = [{"workflowArn": managed}, {"workflowArn": test, "parallelGroup": "one"}]
    image = builds.create(workflows=entries)["imageBuildVersionArn"]
    assert [one.get("parallelGroup") for one in executions(builds, image)] == ["one"]


def test_pages(builds: Builds) -> None:
    image = builds.create(*map(builds.new, ("one", "two", "three")))["imageBuildVersionArn"]
    asked: dict[str, Any] = {"imageBuildVersionArn": image, "maxResults": 2}
    first = builds.client.list_workflow_executions(**asked)
    last = builds.client.list_workflow_executions(**asked, nextToken=first["nextToken"])
    assert "nextToken" not in last
    found = first["workflowExecutions"] + last["workflowExecutions"]
    assert (len(first["workflowExecutions"]), found) == (2, executions(builds, image))


def test_what_is_not_there(builds: Builds) -> None:
    image = f"{ARN}:image/web/1.2.3/9"
    assert refusal(builds.client.list_workflow_executions, imageBuildVersionArn=image)[:2] == (
        "ResourceNotFoundException",
        404,
    )
    assert refusal(builds.client.get_workflow_execution, workflowExecutionId=NONE) == (
        "ResourceNotFoundException",
        404,
        f"The resource with ARN '{ARN}:workflow-execution/{NONE}' does not exist.",
    )
    assert refusal(builds.client.get_workflow_execution, workflowExecutionId="wf-1")[0] == (
        "InvalidParameterValueException"
    )


def test_each_call_needs_its_permission_on_its_resource(builds: Builds) -> None:
    image = builds.create(tags={"team": "images"})["imageBuildVersionArn"]
    [entry] = executions(builds, image)
    reader = builds.sandbox.user(
        "reader",
        {
            "Effect": "Allow",
            "Action": "imagebuilder:ListWorkflowExecutions",
            "Resource": image,
            "Condition": {"StringEquals": {"aws:ResourceTag/team": "images"}},
        },
    )
    client = builds.sandbox.client("imagebuilder", reader)
    assert client.list_workflow_executions(imageBuildVersionArn=image)["workflowExecutions"]
    asked = {"workflowExecutionId": entry["workflowExecutionId"]}
    assert refusal(client.get_workflow_execution, **asked)[:2] == ("AccessDeniedException", 403)
    allowed = {
        "Effect": "Allow",
        "Action": "imagebuilder:GetWorkflowExecution",
        "Resource": f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:workflow-execution/wf-*",
    }
    builds.iam.put_user_policy(
        UserName="reader",
        PolicyName="more",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    assert client.get_workflow_execution(**asked)["status"] == "CANCELLED"
