"""Image Builder's served operations: what must be allowed, what serves them, what is recorded.

Operations that are not in the table are refused by the pipeline, naming the operation.
"""

from __future__ import annotations

from awssandbox.call import Operation
from awssandbox.imagebuilder import executions, images, resources, tags, workflows

OPERATIONS: dict[str, Operation] = {
    "CreateWorkflow": Operation(
        workflows.create,
        workflows.create_access,
        read_only=False,
        refused_request=workflows.recorded_request,
    ),
    "GetWorkflow": Operation(workflows.get, workflows.get_access, read_only=True),
    "ListWorkflows": Operation(workflows.list_versions, workflows.list_access, read_only=True),
    "ListWorkflowBuildVersions": Operation(
        workflows.list_builds, workflows.list_builds_access, read_only=True
    ),
    "DeleteWorkflow": Operation(workflows.delete, workflows.delete_access, read_only=False),
    "CreateImage": Operation(images.create, images.create_access, read_only=False),
    "GetImage": Operation(images.get, images.get_access, read_only=True),
    "ListImages": Operation(images.list_versions, images.list_access, read_only=True),
    "ListImageBuildVersions": Operation(
        images.list_builds, images.list_builds_access, read_only=True
    ),
    "CancelImageCreation": Operation(images.cancel, images.change_access, read_only=False),
    "DeleteImage": Operation(images.delete, images.change_access, read_only=False),
    "ListWorkflowStepExecutions": Operation(
        executions.list_of_steps, executions.get_access, read_only=True
    ),
    "GetWorkflowStepExecution": Operation(
        executions.get_step, executions.step_access, read_only=True
    ),
    "ListWorkflowExecutions": Operation(
        executions.list_of_image, executions.list_access, read_only=True
    ),
    "GetWorkflowExecution": Operation(executions.get, executions.get_access, read_only=True),
    **resources.OPERATIONS,
    "TagResource": Operation(tags.tag, tags.tag_access, read_only=False),
    "UntagResource": Operation(tags.untag, tags.untag_access, read_only=False),
    "ListTagsForResource": Operation(tags.list_tags, tags.list_access, read_only=True),
}
