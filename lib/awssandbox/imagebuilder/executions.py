"""ListWorkflowExecutions and GetWorkflowExecution: what became of each workflow in a build.

A build is simulated as far as its access to workflows goes (see `images`), and so are these: FAILED
where the execution role could not read the workflow, else CANCELLED, with a message that says that
no step was run. Step counts are left out. UNCONFIRMED: what AWS lists of workflows that a failed
build did not come to (here: CANCELLED).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from awssandbox.call import Access, Answer, Call
from awssandbox.imagebuilder import errors
from awssandbox.imagebuilder.arns import owner_of
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
    """``imagebuilder:GetWorkflowExecution`` on the execution."""
    check_limits(call)
    return [Access("imagebuilder:GetWorkflowExecution", _arn(call))]


def _arn(call: Call) -> str:
    place = f"arn:{call.world.partition}:imagebuilder:{call.region}:{call.account}"
    return f"{place}:workflow-execution/{call.parameters['workflowExecutionId']}"


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
        "workflowExecutions": [_detail(image, item) for item in items],
    }
    return Answer(answer if token is None else {**answer, "nextToken": token})


def get(call: Call) -> Answer:
    """One execution, with the image that it belongs to.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetWorkflowExecution.html
    """
    wanted = call.parameters["workflowExecutionId"]
    for image in state_of(call).images.values():
        for execution in image.executions:
            if execution.execution_id == wanted:
                belongs = {"requestId": call.request_id, "imageBuildVersionArn": str(image.arn)}
                return Answer({**_detail(image, execution), **belongs})
    raise errors.not_found(_arn(call))


def _detail(image: Image, execution: Execution) -> dict[str, Any]:
    """An entry. A build is decided within CreateImage: it starts and ends at the same time."""
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
