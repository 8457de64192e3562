"""Workflow executions: what became of each workflow in a build, and of its steps, which were none.

A build is simulated as far as its access to workflows goes (see `images`), and so are these: FAILED
where the execution role could not read the workflow, else CANCELLED, with a message that says that
no step was run. Step counts are left out; lists of steps are empty, with that message. UNCONFIRMED:
what AWS lists of workflows that a failed build did not come to (here: CANCELLED).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from awssandbox.call import Access, Answer, Call
from awssandbox.imagebuilder import errors
from awssandbox.imagebuilder.arns import owner_of
from awssandbox.imagebuilder.images import CANCELLED, is_building
from awssandbox.imagebuilder.limits import check_limits
from awssandbox.imagebuilder.requests import page, resource_tags, state_of
from awssandbox.imagebuilder.state import Execution, Image

# Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_imagebuilder.html


def list_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:ListWorkflowExecutions`` on the image build version."""
    check_limits(call)
    arn: str = call.parameters["imageBuildVersionArn"]
    image = state_of(call).images.get(arn)
    return [
        Access(
            "imagebuilder:ListWorkflowExecutions",
            arn,
            resource_tags(image.tags) if image else {},
            resource_account=owner_of(arn),
        )
    ]


def get_access(call: Call) -> Sequence[Access]:
    """GetWorkflowExecution and ListWorkflowStepExecutions: the action on the execution."""
    check_limits(call)
    return [Access(f"imagebuilder:{call.operation}", _arn(call))]


def step_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:GetWorkflowStepExecution`` on the step's execution."""
    check_limits(call)
    return [Access("imagebuilder:GetWorkflowStepExecution", _step_arn(call))]


def _arn(call: Call) -> str:
    return f"{_place(call)}:workflow-execution/{call.parameters['workflowExecutionId']}"


def _step_arn(call: Call) -> str:
    return f"{_place(call)}:workflow-step-execution/{call.parameters['stepExecutionId']}"


def _place(call: Call) -> str:
    return f"arn:{call.world.partition}:imagebuilder:{call.region}:{call.account}"


def list_of_image(call: Call) -> Answer:
    """One entry for each workflow of ours in a build, in the order in which they run.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListWorkflowExecutions.html
    """
    arn = call.parameters["imageBuildVersionArn"]
    image = state_of(call).images.get(arn)
    if image is None:
        raise errors.not_found(arn)
    items, token = page(call, image.executions)
    answer: dict[str, Any] = {
        "requestId": call.request_id,
        "imageBuildVersionArn": arn,
        "workflowExecutions": [_detail(call, image, item) for item in items],
    }
    return Answer(answer if token is None else {**answer, "nextToken": token})


def get(call: Call) -> Answer:
    """One execution, with the image that it belongs to.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetWorkflowExecution.html
    """
    image, execution = _found(call)
    belongs = {"requestId": call.request_id, "imageBuildVersionArn": str(image.arn)}
    return Answer({**_detail(call, image, execution), **belongs})


def list_of_steps(call: Call) -> Answer:
    """No entry: no step is run here.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListWorkflowStepExecutions.html
    """
    image, execution = _found(call)
    page(call, ())  # for what it refuses
    shown = _detail(call, image, execution)
    return Answer(
        {
            "requestId": call.request_id,
            "steps": [],
            "workflowBuildVersionArn": str(execution.workflow),
            "workflowExecutionId": execution.execution_id,
            "imageBuildVersionArn": str(image.arn),
            "message": shown.get("message", ""),
        }
    )


def get_step(call: Call) -> Answer:
    """Always ResourceNotFoundException: no step is run here.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetWorkflowStepExecution.html
    """
    raise errors.not_found(_step_arn(call))


def _found(call: Call) -> tuple[Image, Execution]:
    wanted = call.parameters["workflowExecutionId"]
    for image in state_of(call).images.values():
        for execution in image.executions:
            if execution.execution_id == wanted:
                return image, execution
    raise errors.not_found(_arn(call))


def _detail(call: Call, image: Image, execution: Execution) -> dict[str, Any]:
    """An entry. A build is decided within CreateImage: it starts and ends at the same time."""
    if is_building(call, image):
        return {
            "workflowBuildVersionArn": str(execution.workflow),
            "workflowExecutionId": execution.execution_id,
            "type": execution.type,
            "status": "RUNNING",
            "startTime": image.date_created,
        }
    if image.cancelled:
        execution = replace(execution, status="CANCELLED", message=CANCELLED)
    detail = {
        "workflowBuildVersionArn": str(execution.workflow),
        "workflowExecutionId": execution.execution_id,
        "type": execution.type,
        "status": execution.status,
        "message": execution.message,
        "startTime": image.date_created,
        "endTime": image.date_created,
    }
    if execution.parallel_group is not None:
        detail["parallelGroup"] = execution.parallel_group
    return detail
