"""Step 03: create the workflow under the key, and read it back.

Both calls go to Image Builder as the operator; Image Builder calls KMS on for the operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keyrunbook import policies
from keyrunbook.aws import mutate
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Applied, Change, Plan, symbol
from keyrunbook.proof import ARN_KEY
from keyrunbook.steps import presence
from keyrunbook.steps.common import Forecast, Place, keep, or_none, passed, place
from keyrunbook.steps.documents import document

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "03_encrypt_workflow"
GET_WORKFLOW = "imagebuilder:GetWorkflow"
CREATE_WORKFLOW = "imagebuilder:CreateWorkflow"


@dataclass(frozen=True, slots=True)
class State:
    """The build that is there (GetWorkflow's answer) or None, and the document as it must be.

    Of a document in S3: its `uri`, and which object was `read` there.
    """

    place: Place
    key_arn: str
    present: dict[str, Any] | None
    document: str
    uri: str | None = None
    read: Mapping[str, str] = field(default_factory=dict)


def observe(run: Run) -> State:
    """Read the document, and the run's build of this version, else the newest, if there is one."""
    arn = _current(run)
    present = or_none(lambda: read(run, arn), "ResourceNotFoundException") if arn else None
    wanted = document(run)
    key_arn = run.facts()["key_arn"]
    return State(place(run), key_arn, present, wanted.text, wanted.uri, wanted.read)


def _current(run: Run) -> str | None:
    """The build of the wanted name, type and version that the run works with, or None."""
    wanted = run.parameters
    pages = (
        run.clients("imagebuilder")
        .get_paginator("list_workflows")
        .paginate(owner="Self", filters=[{"name": "name", "values": [wanted.workflow_name]}])
    )
    versions = [
        one["arn"]
        for page in pages
        for one in page["workflowVersionList"]
        if (one["name"], one["type"], one["version"])
        == (wanted.workflow_name, wanted.workflow_type, wanted.workflow_version)
    ]
    builds = [arn for version in versions for arn in presence.workflow_builds(run, version)]
    known = run.facts().get("workflow_arn")
    if known in builds:
        return str(known)
    return max(builds, key=lambda arn: int(arn.rsplit("/", 1)[1]), default=None)


def read(run: Run, arn: str) -> dict[str, Any]:
    """GetWorkflow of a build, which the ledger remembers: the proof looks for the call's record.

    A call that AWS refuses leaves no line, since no Decrypt can be of it.
    """
    since = run.now()
    answer = run.clients("imagebuilder").get_workflow(workflowBuildVersionArn=arn)
    run.record(
        "read",
        call=GET_WORKFLOW,
        arn=arn,
        since=since.isoformat(),
        until=run.now().isoformat(),
        principal=run.identity.arn,
        request_id=answer["ResponseMetadata"].get("RequestId"),
    )
    return dict(answer["workflow"])


def plan(state: State, parameters: Parameters) -> Plan:
    """Create the workflow, unless its build has this document under this key already."""
    present = state.present
    if (
        present is not None
        and present.get("kmsKeyId") == state.key_arn
        and present.get("data") == state.document
    ):
        return Plan(STEP)
    given = {"data": state.document} if state.uri is None else {"uri": state.uri}
    return Plan(
        STEP,
        (
            Change(
                "imagebuilder",
                "create_workflow",
                {
                    "name": parameters.workflow_name,
                    "semanticVersion": parameters.workflow_version,
                    "type": parameters.workflow_type,
                    **given,
                    "kmsKeyId": state.key_arn,
                    "tags": state.place.tags,
                },
                why="a workflow is encrypted under your key only from its creation on",
                undo="DeleteWorkflow",
                gives={"workflow_arn": "workflowBuildVersionArn"},
                keep=state.read,
            ),
        ),
    )


def rehearse(run: Run, plan: Plan) -> Findings:
    """Have AWS check the plan's call, and KMS the operator's access, without carrying either out.

    A dry run of CreateWorkflow checks the request and the operator's permissions of Image Builder.
    KMS's is a call of the operator's own: a permission that holds only for calls through Image
    Builder (aws:CalledVia) does not count there, so that its refusal decides nothing.
    """
    if run.parameters.read_only:
        why = "the run may only read (read_only); a dry run is a call of what changes something"
        return Findings(Finding(f"{one.call} would be served", "not checked", why) for one in plan)
    findings = [_would_be_served(run, change) for change in plan]
    return Findings([*findings, _would_encrypt(run)] if findings else [])


def _would_be_served(run: Run, change: Change) -> Finding:
    said, statement = mutate.rehearse(run, change), f"{change.call} would be served"
    if said.error is None:
        return passed(statement, True, "a dry run was accepted")
    return Finding(
        statement,
        "fail" if said.served is False else "not checked",
        said.error.what if said.served is False else f"{_UNDECIDED}: {said.error.what}",
        said.error.fix,
    )


_UNDECIDED = "AWS did not say whether it would"
"""Why a dry run that AWS could not judge is no finding."""


def _would_encrypt(run: Run) -> Finding:
    wanted, where = run.parameters, place(run)
    path = policies.workflow_path(wanted.workflow_type, wanted.workflow_name)
    workflow = (
        f"arn:{where.partition}:imagebuilder:{where.region}:{where.account}:{path}/"
        f"{wanted.workflow_version}/*"
    )
    change = Change(
        "kms",
        "generate_data_key",
        {
            "KeyId": run.facts()["key_arn"],
            "KeySpec": "AES_256",
            "EncryptionContext": {ARN_KEY: workflow},
        },
        why="Image Builder asks KMS for a data key as its caller",
        undo="nothing to undo: a dry run makes nothing",
    )
    statement = "KMS would make you a data key for this workflow"
    said = mutate.rehearse(run, change)
    if said.error is None:
        return passed(statement, True, "a dry run of GenerateDataKey was accepted")
    if said.served is None:
        why = f"{_UNDECIDED}: {said.error.what}"
        return Finding(statement, "not checked", why, said.error.fix)
    why = f"refused to you directly; a call through Image Builder may be allowed: {said.error.what}"
    return Finding(statement, "not checked", why)


def forecast(run: Run) -> Forecast:
    """What the step would change and leave, from now on."""
    state = observe(run)
    whole = plan(state, run.parameters)
    if not len(whole) and state.present is not None:
        return Forecast(whole, {"workflow_arn": state.present["arn"]})
    return Forecast(whole, {"workflow_arn": symbol(STEP, "workflow_arn")})


def apply(run: Run, plan: Plan) -> Applied:
    """Create the workflow; remember its ARN, also of one that was there already."""
    applied = mutate.apply(run, plan, lambda: forecast(run).plan)
    present = _current(run)
    if present is not None and present != run.facts().get("workflow_arn"):
        run.learn(workflow_arn=present)
    return applied


def verify(run: Run) -> Findings:
    """Read the workflow back: the key it names, and the document, decrypted."""
    state = observe(run)
    present = state.present
    if present is None:
        return keep(
            run, [passed("The workflow exists", False, "there is none", "Run the cell above.")]
        )
    return keep(
        run,
        [
            passed("The workflow exists", True, present["arn"]),
            passed(
                "GetWorkflow names the key",
                present.get("kmsKeyId") == state.key_arn,
                present.get("kmsKeyId", "no kmsKeyId: it is not under a key of yours"),
                "A workflow cannot be changed: create another version.",
            ),
            passed(
                "The document reads back as it was written",
                present.get("data") == state.document,
                ", ".join([f"{len(present.get('data', ''))} characters", *_object(state)]),
                ""
                if state.uri is None
                else "The object in S3 is not the one that the workflow "
                "was made from: create another version.",
            ),
        ],
    )


def _object(state: State) -> list[str]:
    """Which object in S3 the document was compared with, in words."""
    return [f"{name} {value}" for name, value in state.read.items()]
