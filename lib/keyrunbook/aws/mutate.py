"""The one place that changes AWS.

Each change leaves two lines in the ledger: the intent before the call, the outcome after it, so
that whatever dies in between can be looked up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from iamaccess import Outcome

from keyrunbook.access import keeps_control
from keyrunbook.aws import approval, who
from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.errors import LockOut, ReadOnly, RunbookError, StepFailed
from keyrunbook.plan import DOCUMENTS, Applied, Change, Plan, fill, shown

if TYPE_CHECKING:
    from keyrunbook.session import Run


def apply(run: Run, plan: Plan, part_of: Callable[[], Plan] | None = None) -> Applied:
    """Make the changes of `plan`, in order; gives what was made.

    `part_of` plans the whole of a step that applies its plan in parts.

    Raises ReadOnly in a run that may only read, ApprovalRequired where nobody approved exactly this
    on AWS, RunBusy while another process applies a step of the run, and LockOut for a key policy
    under which the operator could not change it again, all before anything is changed; AwsRefused
    (or Unreachable, CredentialsMissing) at the first call that AWS refuses: the changes before it
    stay, and the ledger holds them.
    """
    if not plan.changes:
        return Applied(plan.step)
    if run.parameters.read_only:
        raise _only_read(plan if part_of is None else part_of())
    with run.ledger.applying():
        approval.check(run, plan, part_of)
        _check_lock_out(run, plan)
        return Applied(plan.step, tuple((change, _make(run, change)) for change in plan))


def _only_read(plan: Plan) -> ReadOnly:
    changes = "\n".join(f"  {change.call}: {change.why}" for change in plan)
    return ReadOnly(
        f"{plan.step} would change AWS, and the run may only read (read_only). Nothing was "
        f"changed. It would be:\n{changes}",
        "Leave read_only out to have it changed.",
    )


_DRY_RUN = {"imagebuilder": "dryRun", "kms": "DryRun"}
"""The parameter by which a call is checked and not carried out."""


def rehearse(run: Run, change: Change) -> RunbookError | None:
    """Have AWS check a call that it does not carry out: None when it would be served.

    Gives the error, in words, that it would answer.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/dry-run-resources.html and
    https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html
    """
    flag = {_DRY_RUN[change.service]: True}
    try:
        getattr(run.clients(change.service), change.operation)(**change.parameters, **flag)
    except ClientError as error:
        return None if code_of(error) == "DryRunOperationException" else explain(error)
    except BotoCoreError as error:
        return explain(error)
    raise StepFailed(
        f"{change.call} was to be checked only, but AWS carried it out.",
        "Look at what it made, and remove it.",
    )


def _check_lock_out(run: Run, plan: Plan) -> None:
    """Refuse a plan with a key policy that locks its operator out.

    Where the operator may not read what decides, the ledger says so, and KMS's own check remains.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
    """
    calls = ("kms:PutKeyPolicy", "kms:CreateKey")
    planned = [one for one in plan if one.call in calls and "Policy" in one.parameters]
    if not planned:
        return
    place = f"{run.identity.partition}:kms:{run.region}:{run.identity.account}"
    for change in planned:
        key_arn = str(change.parameters.get("KeyId", f"arn:{place}:key/new"))
        operator = who.operator(run.clients, key_arn, planned=True)
        outcome, why = keeps_control(operator, json.loads(change.parameters["Policy"]))
        if outcome is Outcome.DENIED:
            raise LockOut(
                f"{change.call} was not sent: under its policy {run.identity.arn} could not "
                f"change the policy of {key_arn} again ({why}).",
                "Keep a statement, or a permission of the operator's own, that allows "
                "kms:PutKeyPolicy.",
            )
        if outcome is Outcome.UNKNOWN:
            run.record("lock_out_check", call=change.call, outcome=outcome.value, why=why)


def _make(run: Run, change: Change) -> dict[str, Any]:
    known = run.known()
    parameters = {
        name: value if name in DOCUMENTS else fill(value, known)
        for name, value in change.parameters.items()
    }
    run.record(
        "intent",
        call=change.call,
        operator=run.identity.arn,
        parameters=shown(parameters),
        why=change.why,
        undo=change.undo,
        before=dict(change.keep),
    )
    client = run.clients(change.service)
    try:
        answer = getattr(client, change.operation)(**parameters)
    except (ClientError, BotoCoreError) as error:
        code = code_of(error) if isinstance(error, ClientError) else type(error).__name__
        run.record("outcome", call=change.call, status="refused", code=code, message=str(error))
        raise explain(error) from error
    given = {name: _at(answer, path) for name, path in change.gives.items()}
    metadata = answer.get("ResponseMetadata", {})
    run.record(
        "outcome",
        call=change.call,
        status="done",
        request_id=metadata.get("RequestId"),
        gives=given,
    )
    if given:
        run.learn(**given)
    return given


def _at(answer: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of a response."""
    value: Any = answer
    for name in path.split("."):
        value = value[name]
    return value
