"""Step 03: create the workflow under the key, and read it back.

Both calls go to Image Builder as the operator; Image Builder calls KMS on for the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from keyrunbook.aws import mutate
from keyrunbook.findings import Findings
from keyrunbook.parameters import Parameters, workflow_document
from keyrunbook.plan import Change, Plan
from keyrunbook.steps.common import Place, keep, passed, place

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "03_encrypt_workflow"


@dataclass(frozen=True, slots=True)
class State:
    """The newest build of the wanted version (GetWorkflow's answer) or None, and the document."""

    place: Place
    key_arn: str
    present: dict[str, Any] | None
    document: str


def observe(run: Run) -> State:
    """Read the document, and the newest build of this name and version where there is one."""
    facts, parameters = run.facts(), run.parameters
    newest = facts.get("workflow_arn") or _newest(run, parameters)
    present = read(run, newest) if newest else None
    return State(place(run), facts["key_arn"], present, workflow_document(parameters))


def _newest(run: Run, parameters: Parameters) -> str | None:
    """The ARN of the newest build of the wanted version, or None."""
    slug = parameters.workflow_name.lower().replace(" ", "-")
    version = (
        f"arn:{run.identity.partition}:imagebuilder:{run.region}:{run.identity.account}:workflow/"
        f"{parameters.workflow_type.lower()}/{slug}/{parameters.workflow_version}"
    )
    client = run.clients("imagebuilder")
    listed = client.list_workflows(
        owner="Self", filters=[{"name": "name", "values": [parameters.workflow_name]}]
    )["workflowVersionList"]
    if not any(one["arn"] == version for one in listed):
        return None
    pages = client.get_paginator("list_workflow_build_versions").paginate(
        workflowVersionArn=version
    )
    builds = [one["arn"] for page in pages for one in page["workflowSummaryList"]]
    return max(builds, key=lambda arn: int(arn.rsplit("/", 1)[1]), default=None)


def read(run: Run, arn: str) -> dict[str, Any]:
    """GetWorkflow; the time of the call is remembered, because the proof looks for its record."""
    before = run.now()
    answer = run.clients("imagebuilder").get_workflow(workflowBuildVersionArn=arn)["workflow"]
    run.record("read", call="imagebuilder:GetWorkflow", arn=arn, since=str(before), until=str(run.now()))
    return dict(answer)


def plan(state: State, parameters: Parameters) -> Plan:
    """Create the workflow, unless its newest build has this document under this key already."""
    present = state.present
    if (
        present is not None
        and present.get("kmsKeyId") == state.key_arn
        and present.get("data") == state.document
    ):
        return Plan(STEP)
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
                    "data": state.document,
                    "kmsKeyId": state.key_arn,
                    "tags": state.place.tags,
                },
                why="a workflow is encrypted under your key only from its creation on",
                undo="DeleteWorkflow",
                gives={"workflow_arn": "workflowBuildVersionArn"},
            ),
        ),
    )


def apply(run: Run, plan: Plan) -> None:
    """Create the workflow; remember its ARN, and whether this run made it."""
    since = run.now()
    mutate.apply(run, plan)
    if plan.changes:
        facts = run.facts()
        made = [*facts.get("workflows_made", []), facts["workflow_arn"]]
        run.learn(workflows_made=made, created_since=str(since), created_until=str(run.now()))
    elif "workflow_arn" not in run.facts():
        run.learn(workflow_arn=_newest(run, run.parameters))


def verify(run: Run) -> Findings:
    """Read the workflow back: the key it names, and the document, decrypted."""
    state = observe(run)
    present = state.present
    if present is None:
        return keep(
            run, [passed("The workflow exists", False, "there is none", "Run the cell above.")]
        )
    run.learn(workflow_created=str(_time(present)))
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
                f"{len(present.get('data', ''))} characters",
            ),
        ],
    )


def _time(workflow: dict[str, Any]) -> datetime | str:
    return workflow["dateCreated"]
