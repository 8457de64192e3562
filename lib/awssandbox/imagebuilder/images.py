"""Images, as far as a build's access to its workflows goes: made, read, listed, cancelled, deleted.

CreateImage checks what AWS documents about workflows, execution role and permissions, then assumes
the execution role and opens each encrypted workflow with one KMS Decrypt as that role. No instance
is launched and no image is made: a build whose workflows could all be opened ends CANCELLED, with a
reason that says that it was simulated; AVAILABLE would claim an AMI. Recipes, infrastructure and
distribution configurations are not held: their ARNs are checked for form only. Nor are the values
compared that a request gives to a workflow's parameters. The outcome is decided within CreateImage,
where AWS's build takes its time; a schedule of faults can let it be shown later (``slow_build``).

UNCONFIRMED: how AWS calls KMS during a build (the record's shape, the session's name) and the
reason's text when a workflow cannot be decrypted. The session name ``ImageBuilder`` is the one seen
for the service-linked role: https://github.com/SummitRoute/aws_managed_policies/issues/6
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from awssandbox.call import Access, Answer, Call
from awssandbox.errors import AwsError, not_imitated
from awssandbox.imagebuilder import errors
from awssandbox.imagebuilder.arns import (
    AMAZON,
    ResourceArn,
    owner_of,
    parse_arn,
)
from awssandbox.imagebuilder.encryption import SERVICE, KmsRefusal, decrypt
from awssandbox.imagebuilder.limits import check_limits
from awssandbox.imagebuilder.requests import (
    filters,
    once,
    page,
    read_arn,
    request_tags,
    resource_tags,
    state_of,
    timestamp,
)
from awssandbox.imagebuilder.state import Encrypted, Execution, Image, Workflow
from awssandbox.imagebuilder.versions import parse_version, version_references
from awssandbox.imagebuilder.workflows import find, workflow_access
from awssandbox.late import build_thing

if TYPE_CHECKING:
    from awssandbox.forward import ServiceAccess

SESSION_NAME: Final = "ImageBuilder"
WORKFLOWS_PER_IMAGE: Final = 10
"""Source: https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html"""
MANAGED: Final = ("workflow/build/build-image", "workflow/test/test-image")
"""Image Builder's own workflows that a build may name here; they hold nothing encrypted by us."""
_STATUS: Final = {"BUILD": "BUILDING", "TEST": "TESTING", "DISTRIBUTION": "DISTRIBUTING"}
_LONGEST_REASON: Final = 1_024
_LONGEST_MESSAGE: Final = 500
_SIMULATED: Final = "Simulated build: the execution role could read the workflow; no step was run."
CANCELLED: Final = "Simulated build: it was cancelled by CancelImageCreation."
_NEVER: Final = "Simulated build: the build failed before it came to this workflow."


# --- what must be allowed ------------------------------------------------------------------------


def create_access(call: Call) -> Sequence[Access]:
    """What CreateImage needs of its caller, the execution role's PassRole included.

    Raises InvalidParameterValueException for ARNs without their form: the permissions are about
    these ARNs.
    Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_imagebuilder.html
    """
    check_limits(call)
    _check_recipe(call)
    given = call.parameters
    arn, tags = f"{_new_arn(call).version_arn}/*", request_tags(call)
    accesses = [Access("imagebuilder:CreateImage", arn, tags)]
    reads = {
        "imageRecipeArn": "imagebuilder:GetImageRecipe",
        "containerRecipeArn": "imagebuilder:GetContainerRecipe",
        "infrastructureConfigurationArn": "imagebuilder:GetInfrastructureConfiguration",
        "distributionConfigurationArn": "imagebuilder:GetDistributionConfiguration",
    }
    accesses += [Access(action, given[key]) for key, action in reads.items() if given.get(key)]
    accesses += [
        workflow_access(call, "imagebuilder:GetWorkflow", entry["workflowArn"], "workflows")
        for entry in given.get("workflows", [])
    ]
    if given.get("tags"):
        accesses.append(Access("imagebuilder:TagResource", arn, tags))
    if given.get("executionRole"):
        passed = {"iam:PassedToService": SERVICE}
        accesses.append(Access("iam:PassRole", _role_arn(call), passed))
    return accesses


def get_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:GetImage`` on the ARN as given."""
    check_limits(call)
    read_arn(_ARN, call.parameters[_ARN])
    return [_image_access(call)]


def change_access(call: Call) -> Sequence[Access]:
    """CancelImageCreation and DeleteImage: the action of that name on the image build version."""
    check_limits(call)
    return [_image_access(call)]


def _image_access(call: Call) -> Access:
    text = call.parameters[_ARN]
    image = state_of(call).images.get(text)
    context = resource_tags(image.tags) if image else {}
    return Access(f"imagebuilder:{call.operation}", text, context, resource_account=owner_of(text))


def list_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:ListImages``, which has no resource."""
    check_limits(call)
    return [Access("imagebuilder:ListImages")]


def list_builds_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:ListImageBuildVersions`` on the version (UNCONFIRMED without one: on all)."""
    check_limits(call)
    everything = f"arn:{call.world.partition}:imagebuilder:{call.region}:{call.account}:image/*"
    given = call.parameters.get("imageVersionArn", everything)
    account = owner_of(given)
    return [Access("imagebuilder:ListImageBuildVersions", given, resource_account=account)]


_ARN: Final = "imageBuildVersionArn"


def _check_recipe(call: Call) -> None:
    given = call.parameters
    if (given.get("imageRecipeArn") is None) == (given.get("containerRecipeArn") is None):
        raise errors.invalid_combination(
            "You must specify exactly one of the 'imageRecipeArn' or 'containerRecipeArn' "
            "properties."
        )


def _new_arn(call: Call) -> ResourceArn:
    """The version ARN of the image, which has its recipe's name and version."""
    recipe = call.parameters.get("imageRecipeArn") or call.parameters["containerRecipeArn"]
    name, version = recipe.split("/")[1:]
    return ResourceArn(call.world.partition, call.region, call.account, f"image/{name}", version)


def _role_arn(call: Call) -> str:
    role: str = call.parameters["executionRole"]
    if role.startswith("arn:"):
        return role
    return f"arn:{call.world.partition}:iam::{call.account}:role/{role}"


# --- CreateImage ---------------------------------------------------------------------------------


def create(call: Call) -> Answer:
    """Create an image resource and decide how its build ends."""
    output = once(call, lambda: _create(call))
    return Answer({**output, "requestId": call.request_id}, record_response=output)


def _create(call: Call) -> dict[str, Any]:
    given = call.parameters
    if not given.get("workflows"):
        raise not_imitated("CreateImage without workflows (Image Builder's default workflows)")
    if not given.get("executionRole"):
        # The text is documented, the code is not; the model says of this one: "a parameter without
        # its required companion parameter".
        raise errors.invalid_combination("An execution role is required to provide workflows")
    arn = _new_arn(call)
    if "x" in arn.version:
        raise not_imitated("recipes, so a recipe's version cannot be a wildcard")
    planned = _plan(call, given["workflows"])
    state = state_of(call)
    arn = replace(arn, build=state.next_image_build(arn))
    ended, executions = _build(call, arn, planned)
    state.images[str(arn)] = Image(
        arn=arn,
        type="DOCKER" if given.get("containerRecipeArn") else "AMI",
        date_created=timestamp(call.time),
        state=ended,
        request=dict(given),
        executions=executions,
        tags=dict(given.get("tags") or {}),
    )
    return {
        "clientToken": given["clientToken"],
        _ARN: str(arn),
        "latestVersionReferences": version_references(arn.unversioned, parse_version(arn.version)),
    }


@dataclass(frozen=True, slots=True)
class _Planned:
    """A workflow that the build is to run; `continues` when its failure does not end the build."""

    workflow: Workflow
    continues: bool
    parallel_group: str | None


def _plan(call: Call, entries: Sequence[Mapping[str, Any]]) -> list[_Planned]:
    """The workflows of ours in the order in which they run: build, test, distribution.

    Raises InvalidParameterValueException and ResourceNotFoundException.
    """
    if len(entries) > WORKFLOWS_PER_IMAGE:
        raise errors.invalid_value(
            "workflows", f"An image can have up to {WORKFLOWS_PER_IMAGE} workflows."
        )
    planned: list[_Planned] = []
    for entry in entries:
        text = entry["workflowArn"]
        arn, _ = read_arn("workflows", text)
        if not arn.path.startswith("workflow/test/"):
            for key in ("onFailure", "parallelGroup"):
                if entry.get(key) is not None:
                    raise errors.invalid_value(
                        "workflows", f"'{key}' can only be set for test workflows ('{text}')."
                    )
        if arn.account.startswith(AMAZON):
            _check_managed(arn)
            continue
        workflow = find(call, text, "workflows")
        continues = entry.get("onFailure") == "CONTINUE"
        planned.append(_Planned(workflow, continues, entry.get("parallelGroup")))
    return sorted(planned, key=lambda item: list(_STATUS).index(item.workflow.type))


def _check_managed(arn: ResourceArn) -> None:
    """Source: https://github.com/aws/aws-cdk/issues/29910"""
    if str(arn) != f"{arn.unversioned}/x.x.x":
        raise errors.invalid_value(
            "workflows", f"AWS managed workflows must have latest version 'x.x.x' for '{arn}'"
        )
    if arn.path not in MANAGED:
        raise not_imitated(f"the workflow '{arn}' that Image Builder manages")


def _build(
    call: Call, image: ResourceArn, planned: Sequence[_Planned]
) -> tuple[Mapping[str, Any], tuple[Execution, ...]]:
    """The state in which the build ends, and what became of each workflow.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/image-failure-context.html
    (status, reason and failure context of a failed image).
    """
    role = _role_arn(call)
    try:
        access = call.as_role(role, SERVICE, SESSION_NAME)
    except AwsError as error:
        _raise_own(error)
        why = f"Image Builder could not assume the execution role '{role}'. {error}"
        never = [_execution(call, image, item, "CANCELLED", _NEVER) for item in planned]
        return {"status": "FAILED", "reason": why[:_LONGEST_REASON]}, tuple(never)
    ended: list[Execution] = []
    for place, item in enumerate(planned):
        failure = _open(item.workflow, access)
        if failure is None:
            ended.append(_execution(call, image, item, "CANCELLED", _SIMULATED))
            continue
        ended.append(_execution(call, image, item, "FAILED", failure))
        if not item.continues:
            rest = planned[place + 1 :]
            never = [_execution(call, image, later, "CANCELLED", _NEVER) for later in rest]
            return _failed(ended[-1], failure), (*ended, *never)
    read = sum(one.status != "FAILED" for one in ended)
    return {
        "status": "CANCELLED",
        "reason": (
            f"Simulated build: the execution role could read {read} of {len(planned)} workflows. "
            "The sandbox ran no step, launched no instance and made no image."
        ),
    }, tuple(ended)


def _raise_own(error: AwsError) -> None:
    """What the sandbox itself cannot do is no outcome of a build."""
    if error.status >= 500:
        raise error


def _open(workflow: Workflow, access: ServiceAccess) -> str | None:
    """Read a workflow's document as the execution role; gives the reason when that fails."""
    if not isinstance(workflow.body, Encrypted):
        return None
    try:
        decrypt(access, workflow.body)
    except KmsRefusal as refusal:
        _raise_own(refusal.cause)
        return errors.kms_refused("decrypt", str(workflow.kms_key_id), refusal.cause).message
    return None


def _execution(
    call: Call, image: ResourceArn, item: _Planned, status: str, message: str
) -> Execution:
    workflow = item.workflow
    made = call.world.ids.uuid("workflow-execution", str(image), str(workflow.arn))
    return Execution(
        execution_id=f"wf-{made}",
        workflow=workflow.arn,
        type=workflow.type,
        status=status,
        message=message[:_LONGEST_MESSAGE],
        parallel_group=item.parallel_group,
    )


def _failed(execution: Execution, failure: str) -> Mapping[str, Any]:
    reason = f"Workflow Execution ID: '{execution.execution_id}' failed with reason: {failure}"
    return {
        "status": "FAILED",
        "reason": reason[:_LONGEST_REASON],
        "failureContext": {
            "imageStatus": _STATUS[execution.type],
            "workflowExecutionId": execution.execution_id,
            "workflowArn": str(execution.workflow),
        },
    }


# --- GetImage ------------------------------------------------------------------------------------


def get(call: Call) -> Answer:
    """The image of one build version, with the state in which its build ended.

    A version ARN resolves to the latest AVAILABLE build, and no build here becomes AVAILABLE. The
    distribution configuration is left out: its shape requires what is in it, and none is held.
    Source: the model of GetImage.
    """
    image = _found(call)
    shown = _detail(call, image)
    return Answer({"requestId": call.request_id, "image": shown, **_references(image)})


def _found(call: Call) -> Image:
    text = call.parameters[_ARN]
    arn = parse_arn(text)
    image = state_of(call).images.get(str(arn)) if arn.build is not None else None
    if image is None:
        raise errors.not_found(text)
    return image


def is_building(call: Call, image: Image) -> bool:
    """Whether a build has not ended yet: a schedule of faults can make it take its time."""
    if image.cancelled:
        return False
    return call.world.seen(build_thing(str(image.arn)), None) is not None


def _state(call: Call, image: Image) -> dict[str, Any]:
    if image.cancelled:
        return {"status": "CANCELLED", "reason": CANCELLED}
    return {"status": "BUILDING"} if is_building(call, image) else dict(image.state)


def _references(image: Image) -> dict[str, Any]:
    version = parse_version(image.arn.version)
    return {"latestVersionReferences": version_references(image.arn.unversioned, version)}


def _detail(call: Call, image: Image) -> dict[str, Any]:
    request = image.request
    detail = {
        "arn": str(image.arn),
        "type": image.type,
        "name": image.name,
        "version": f"{image.arn.version}/{image.arn.build}",
        "state": _state(call, image),
        "dateCreated": image.date_created,
        "enhancedImageMetadataEnabled": request.get("enhancedImageMetadataEnabled", True),
        "executionRole": request["executionRole"],
        "infrastructureConfiguration": {"arn": request["infrastructureConfigurationArn"]},
        "workflows": request["workflows"],
        "outputResources": {"amis": [], "containers": []},
    }
    if request.get("imageTestsConfiguration") is not None:
        detail["imageTestsConfiguration"] = request["imageTestsConfiguration"]
    if image.tags:
        detail["tags"] = dict(image.tags)
    for key in ("imageRecipe", "containerRecipe"):
        if request.get(f"{key}Arn") is not None:
            detail[key] = {"arn": request[f"{key}Arn"]}
    return detail


# --- lists ---------------------------------------------------------------------------------------


def list_versions(call: Call) -> Answer:
    """One entry for each image version of the account, as its latest build has it.

    AWS documents no order; here it is by name, the newest version first.
    Source: the model of ListImages.
    """
    owner = call.parameters.get("owner", "Self")
    if owner in ("Amazon", "ThirdParty"):
        raise not_imitated(f"the images of others (owner {owner})")
    if call.parameters.get("byName"):
        raise not_imitated("ListImages with byName")
    newest: dict[str, Image] = {}
    if owner == "Self":
        for image in _sorted(call):
            newest.setdefault(image.arn.version_arn, image)
    shown, token = _page(call, list(newest.values()))
    versions = [
        {**_summary(image), "arn": image.arn.version_arn, "version": image.arn.version}
        for image in shown
    ]
    return Answer({"requestId": call.request_id, "imageVersionList": versions, **token})


def list_builds(call: Call) -> Answer:
    """Every build of one image version, newest first, with its state and tags; or of all versions.

    Source: the model of ListImageBuildVersions.
    """
    given = call.parameters.get("imageVersionArn")
    found = [one for one in _sorted(call) if given in (None, one.arn.version_arn)]
    shown, token = _page(call, found)
    summaries = []
    for image in shown:
        summary = {
            **_summary(image),
            "state": _state(call, image),
            "outputResources": {"amis": [], "containers": []},
        }
        summaries.append({**summary, "tags": dict(image.tags)} if image.tags else summary)
    return Answer({"requestId": call.request_id, "imageSummaryList": summaries, **token})


_READERS: Final[Mapping[str, Callable[[Image], str]]] = {
    "name": lambda image: image.name,
    "type": lambda image: image.type,
    "version": lambda image: image.arn.version,
}
_OF_RECIPES: Final = ("osVersion", "platform")


def _page(call: Call, images: list[Image]) -> tuple[Sequence[Image], dict[str, str]]:
    """The images that pass the filters, and the token of the next page where there is one."""
    for entry in call.parameters.get("filters", []):
        if entry.get("name") in _OF_RECIPES:
            raise not_imitated(f"recipes, so images have no {entry['name']} to filter by")
    keeps = filters(call, _READERS)
    shown, token = page(call, [one for one in images if all(keep(one) for keep in keeps)])
    return shown, {} if token is None else {"nextToken": token}


def _sorted(call: Call) -> list[Image]:
    """By name; of one name the newest first."""
    images = state_of(call).images.values()
    newest_first = sorted(
        images, key=lambda one: (parse_version(one.arn.version).nodes, one.arn.build), reverse=True
    )
    return sorted(newest_first, key=lambda image: image.arn.path)


def _summary(image: Image) -> dict[str, Any]:
    return {
        "arn": str(image.arn),
        "name": image.name,
        "type": image.type,
        "version": f"{image.arn.version}/{image.arn.build}",
        "owner": image.arn.account,
        "dateCreated": image.date_created,
    }


# --- CancelImageCreation, DeleteImage ------------------------------------------------------------


def cancel(call: Call) -> Answer:
    """End a build that has not ended; it is CANCELLED at once, where AWS takes its time.

    Source: the model of CancelImageCreation.
    """
    output = once(call, lambda: _cancel(call))
    return Answer({**output, "requestId": call.request_id}, record_response=output)


def _cancel(call: Call) -> dict[str, Any]:
    image = _found(call)
    if not is_building(call, image):
        raise errors.not_running(str(image.arn))
    state_of(call).images[str(image.arn)] = replace(image, cancelled=True)
    return {"clientToken": call.parameters["clientToken"], _ARN: str(image.arn)}


def delete(call: Call) -> Answer:
    """Delete an image resource whose build has ended.

    Source: the model of DeleteImage.
    """
    image = _found(call)
    if is_building(call, image):
        raise errors.still_running(str(image.arn))
    del state_of(call).images[str(image.arn)]
    output = {_ARN: str(image.arn)}
    return Answer({**output, "requestId": call.request_id}, record_response=output)
