"""CreateWorkflow, GetWorkflow, ListWorkflows, ListWorkflowBuildVersions and DeleteWorkflow.

KMS is called as the caller, through a forward access session, once by CreateWorkflow with a
`kmsKeyId` and once by GetWorkflow of such a workflow; by the others never.
Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html

UNCONFIRMED: with which resource ARN AWS authorises CreateWorkflow, whose build number is not known
yet (here the version ARN with ``/*``, as in the encryption context), and GetWorkflow by a version
ARN (here the ARN as given).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from awssandbox.call import DERIVED, Access, Answer, Call
from awssandbox.errors import AwsError, not_imitated
from awssandbox.imagebuilder import errors, objects
from awssandbox.imagebuilder.arns import (
    AMAZON,
    ResourceArn,
    owner_of,
    parse_arn,
    workflow_arn,
)
from awssandbox.imagebuilder.documents import (
    Document,
    DocumentError,
    WorkflowType,
    parse_document,
)
from awssandbox.imagebuilder.encryption import (
    SERVICE,
    KmsRefusal,
    decrypt,
    encrypt,
    encryption_context,
)
from awssandbox.imagebuilder.limits import check_limits
from awssandbox.imagebuilder.requests import (
    filters,
    fingerprint,
    once,
    page,
    read_arn,
    request_tags,
    resource_tags,
    state_of,
    timestamp,
)
from awssandbox.imagebuilder.state import Encrypted, ImageBuilderState, Workflow
from awssandbox.imagebuilder.versions import (
    Version,
    VersionBoundsError,
    parse_version,
    version_references,
)

WORKFLOWS_PER_REGION: Final = 1_000
"""The quota of workflows in one Region of an account, counted here in workflow versions.

Source: https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html
"""
KEY_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(?:key|alias)/.+")


# --- what must be allowed (the model's limits are checked first) ---------------------------------
# Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_imagebuilder.html


def create_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:CreateWorkflow``, and ``imagebuilder:TagResource`` where tags are given."""
    check_limits(call)
    arn = f"{_new_arn(call).version_arn}/*"
    tags = request_tags(call)
    accesses = [Access("imagebuilder:CreateWorkflow", arn, tags)]
    if call.parameters.get("tags"):
        accesses.append(Access("imagebuilder:TagResource", arn, tags))
    return accesses


def get_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:GetWorkflow`` on the ARN as given."""
    check_limits(call)
    return [workflow_access(call, "imagebuilder:GetWorkflow", call.parameters[_ARN], _ARN)]


def delete_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:DeleteWorkflow`` on the build version."""
    check_limits(call)
    return [workflow_access(call, "imagebuilder:DeleteWorkflow", call.parameters[_ARN], _ARN)]


def list_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:ListWorkflows``, which has no resource."""
    check_limits(call)
    return [Access("imagebuilder:ListWorkflows")]


def list_builds_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:ListWorkflowBuildVersions`` on all builds of the version."""
    check_limits(call)
    given = call.parameters.get("workflowVersionArn")
    everything = f"arn:{call.world.partition}:imagebuilder:{call.region}:{call.account}:workflow/*"
    resource = everything if given is None else f"{given}/*"
    account = None if given is None else owner_of(given)
    return [Access("imagebuilder:ListWorkflowBuildVersions", resource, resource_account=account)]


def workflow_access(call: Call, action: str, arn: str, parameter: str) -> Access:
    """`action` on a workflow's ARN, with the workflow's tags where it exists."""
    parsed, pattern = read_arn(parameter, arn)
    workflow = _held(call, parsed) and state_of(call).find(parsed, pattern)
    context = resource_tags(workflow.tags) if workflow else {}
    return Access(action, arn, context, resource_account=owner_of(arn))


def _held(call: Call, arn: ResourceArn) -> bool:
    """Whether `arn` is in the account and Region of the call."""
    return (arn.account, arn.region) == (call.account, call.region)


_ARN: Final = "workflowBuildVersionArn"


# --- CreateWorkflow ------------------------------------------------------------------------------


def create(call: Call) -> Answer:
    """Create a workflow, or the next build of its version.

    `dryRun` checks everything but KMS (UNCONFIRMED whether AWS calls it then; it documents only
    "validates the required permissions and request parameters") and creates nothing.
    """
    output = once(call, lambda: _create(call))
    return Answer(output, record_request=recorded_request(call), record_response=output)


def recorded_request(call: Call) -> Mapping[str, Any] | None:
    """CreateWorkflow's parameters for CloudTrail, without the text of a document to be encrypted.

    UNCONFIRMED: no sample of this record is published. Nothing should rest on its fields.
    """
    if call.parameters.get("kmsKeyId") is None:
        return DERIVED
    return {key: value for key, value in call.parameters.items() if key != "data"}


def _new_arn(call: Call) -> ResourceArn:
    given = call.parameters
    return workflow_arn(
        call.world.partition,
        call.region,
        call.account,
        given["type"],
        given["name"],
        given["semanticVersion"],
    )


def _create(call: Call) -> dict[str, Any]:
    given = call.parameters
    version = _check_request(call)
    uri, source = given.get("uri"), "data" if given.get("uri") is None else "uri"
    text: str = given["data"] if uri is None else objects.read(call, uri)
    _document(text, given["type"], source)
    state = state_of(call)
    arn = _new_arn(call)
    configuration = _configuration({**given, "data": text})
    _check_room(state, arn, configuration)
    if given.get("dryRun"):
        raise errors.dry_run_succeeded()
    arn = replace(arn, build=state.next_build(arn))
    state.workflows[str(arn)] = Workflow(
        arn=arn,
        name=given["name"],
        version=version,
        type=given["type"],
        owner=call.account,
        date_created=timestamp(call.time),
        body=_body(call, arn, text),
        fingerprint=configuration,
        description=given.get("description"),
        change_description=given.get("changeDescription"),
        kms_key_id=given.get("kmsKeyId"),
        tags=dict(given.get("tags") or {}),
    )
    return {
        "clientToken": given["clientToken"],
        "workflowBuildVersionArn": str(arn),
        "latestVersionReferences": version_references(arn.unversioned, version),
    }


def _check_request(call: Call) -> Version:
    """Check what the model's limits leave open; gives the version."""
    given = call.parameters
    try:
        version = parse_version(given["semanticVersion"])
    except VersionBoundsError:
        raise errors.version_out_of_bounds() from None
    if given.get("kmsKeyId") is not None and not KEY_ARN.fullmatch(given["kmsKeyId"]):
        raise errors.invalid_value("kmsKeyId", "Specify the key ARN or the alias ARN of a key.")
    _check_source(call)
    return version


def _check_source(call: Call) -> None:
    given = call.parameters
    if given.get("data") is not None and given.get("uri") is not None:
        raise errors.invalid_combination(
            "You must specify exactly one of the 'data' or 'uri' properties, not both."
        )
    if given.get("data") is None and given.get("uri") is None:
        raise errors.invalid_combination(
            "You must specify exactly one of the 'data' or 'uri' properties."
        )


def _document(text: str, workflow_type: str, source: str = "data") -> Document:
    try:
        return parse_document(text, cast(WorkflowType, workflow_type))
    except DocumentError as error:
        raise errors.invalid_value(source, str(error)) from None


def _configuration(given: Mapping[str, Any]) -> str:
    """A hash of what makes two builds of a version the same workflow.

    UNCONFIRMED: which parameters AWS compares. Tags and the token are taken not to count, and of a
    document in S3 what it says, not where it is.
    """
    counted = ("name", "type", "description", "changeDescription", "data", "kmsKeyId")
    return fingerprint([given.get(key) for key in counted])


def _check_room(state: ImageBuilderState, arn: ResourceArn, configuration: str) -> None:
    """Raises ResourceAlreadyExistsException and ServiceQuotaExceededException.

    Source: the model of CreateWorkflow ("If the configuration is identical to the latest build
    version, the request fails because that workflow configuration already exists").
    """
    builds = [w for w in state.builds(arn.path) if w.version.text == arn.version]
    if builds:
        newest = max(builds, key=lambda workflow: workflow.build)
        if newest.fingerprint == configuration:
            raise errors.already_exists("Workflow", str(newest.arn))
        return
    versions = {workflow.arn.version_arn for workflow in state.workflows.values()}
    if len(versions) >= WORKFLOWS_PER_REGION:
        raise errors.quota_exceeded("workflows in this Region", WORKFLOWS_PER_REGION)


def _body(call: Call, arn: ResourceArn, text: str) -> str | Encrypted:
    key = call.parameters.get("kmsKeyId")
    if key is None:
        return text
    try:
        return encrypt(call.forward(SERVICE), key, encryption_context(arn), text)
    except KmsRefusal as refusal:
        raise _refused("encrypt", key, refusal.cause) from None


def _refused(verb: str, key: str, cause: AwsError) -> AwsError:
    """KMS's refusal as Image Builder tells it; what the sandbox itself cannot do stays as it is."""
    return cause if cause.status >= 500 else errors.kms_refused(verb, key, cause)


# --- GetWorkflow ---------------------------------------------------------------------------------


def get(call: Call) -> Answer:
    """A workflow build, or the latest that a version ARN matches, with its document.

    The document of an encrypted workflow costs one KMS Decrypt as the caller.
    """
    workflow = find(call, call.parameters[_ARN], _ARN)
    if isinstance(workflow.body, Encrypted):
        key = str(workflow.kms_key_id)
        try:
            text = decrypt(call.forward(SERVICE), workflow.body)
        except KmsRefusal as refusal:
            raise _refused("decrypt", key, refusal.cause) from None
    else:
        text = workflow.body
    parameters = _document(text, workflow.type).parameters
    detail = {**_summary(workflow), "data": text, "kmsKeyId": workflow.kms_key_id}
    if parameters:
        detail["parameters"] = [parameter.detail() for parameter in parameters]
    return Answer(
        {
            "workflow": _given(detail),
            "latestVersionReferences": version_references(
                workflow.arn.unversioned, workflow.version
            ),
        }
    )


def find(call: Call, arn: str, parameter: str) -> Workflow:
    """The workflow build that an ARN names, or the latest that its version pattern matches.

    Raises ResourceNotFoundException.
    """
    parsed, pattern = read_arn(parameter, arn)
    if parsed.account.startswith(AMAZON):
        raise not_imitated("the workflows that Image Builder manages")
    workflow = state_of(call).find(parsed, pattern) if _held(call, parsed) else None
    if workflow is None:
        raise errors.not_found(arn)
    return workflow


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _version_summary(workflow: Workflow) -> dict[str, Any]:
    return _given(
        {
            "arn": workflow.arn.version_arn,
            "name": workflow.name,
            "version": workflow.version.text,
            "description": workflow.description,
            "type": workflow.type,
            "owner": workflow.owner,
            "dateCreated": workflow.date_created,
        }
    )


def _summary(workflow: Workflow) -> dict[str, Any]:
    return _given(
        {
            **_version_summary(workflow),
            "arn": str(workflow.arn),
            "changeDescription": workflow.change_description,
            "tags": dict(workflow.tags) or None,
        }
    )


# --- lists ---------------------------------------------------------------------------------------


def list_versions(call: Call) -> Answer:
    """One entry for each version of each workflow of the account, without any call to KMS.

    The entry shows the version's latest build. AWS documents no order; here it is by type and
    name, the newest version first. `byName` and the workflows that Image Builder manages are not
    imitated.
    Source: the model of ListWorkflows.
    """
    owner = call.parameters.get("owner", "Self")
    if owner == "Amazon":
        raise not_imitated("the workflows that Image Builder manages (owner Amazon)")
    if owner not in ("Self", "AWSMarketplace"):
        raise errors.invalid_value("owner", f"The owner '{owner}' is not supported for workflows.")
    if call.parameters.get("byName"):
        raise not_imitated("ListWorkflows with byName")
    keeps = filters(call, _FILTERED)
    newest: dict[str, Workflow] = {}
    if owner == "Self":
        for workflow in _sorted(state_of(call).workflows.values()):
            newest.setdefault(workflow.arn.version_arn, workflow)
    found = [workflow for workflow in newest.values() if all(keep(workflow) for keep in keeps)]
    items, token = page(call, found)
    versions = [_version_summary(workflow) for workflow in items]
    return Answer(_given({"workflowVersionList": versions, "nextToken": token}))


def list_builds(call: Call) -> Answer:
    """Every build of the versions that an ARN matches, newest first; without one, of all."""
    given = call.parameters.get("workflowVersionArn")
    workflows = _sorted(state_of(call).workflows.values())
    if given is not None:
        parsed, pattern = read_arn("workflowVersionArn", given)
        if parsed.account.startswith(AMAZON):
            raise not_imitated("the workflows that Image Builder manages")
        workflows = [
            workflow
            for workflow in workflows
            if workflow.arn.unversioned == parsed.unversioned and pattern.matches(workflow.version)
        ]
    items, token = page(call, workflows)
    summaries = [_summary(workflow) for workflow in items]
    return Answer(_given({"workflowSummaryList": summaries, "nextToken": token}))


def _sorted(workflows: Iterable[Workflow]) -> list[Workflow]:
    """By type and name; of one name the newest first."""
    newest_first = sorted(workflows, key=lambda w: (w.version.nodes, w.build), reverse=True)
    return sorted(newest_first, key=lambda workflow: workflow.arn.path)


_FILTERED: Final[Mapping[str, Callable[[Workflow], str]]] = {
    "name": lambda workflow: workflow.name,
    "version": lambda workflow: workflow.version.text,
    "description": lambda workflow: workflow.description or "",
    "type": lambda workflow: workflow.type,
}


# --- DeleteWorkflow ------------------------------------------------------------------------------


def delete(call: Call) -> Answer:
    """Delete one build version; the key may be disabled or gone.

    AWS refuses while an image pipeline refers to it; the sandbox holds no pipelines.
    """
    given = call.parameters[_ARN]
    find(call, given, _ARN)
    del state_of(call).workflows[str(parse_arn(given))]
    output = {_ARN: given}
    return Answer(output, record_response=output)
