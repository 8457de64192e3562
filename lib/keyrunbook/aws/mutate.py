"""The one place that changes AWS.

Each change leaves two lines in the ledger: the intent before the call, the outcome after it, so
that whatever dies in between can be looked up (`settle`).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from iamaccess import Outcome

from keyrunbook import policies
from keyrunbook.access import keeps_control
from keyrunbook.aws import approval, settle, who
from keyrunbook.aws.refusals import NEVER_SENT, code_of, explain, judged, may_be_sent_again
from keyrunbook.aws.wait import NotYet, Pending, wait_until
from keyrunbook.errors import (
    LockOut,
    OutcomeUnknown,
    PlanStale,
    ReadOnly,
    RunbookError,
    StepFailed,
)
from keyrunbook.ledger import DONE, NOT_MADE, REFUSED, UNKNOWN
from keyrunbook.parameters import settle_seconds
from keyrunbook.plan import DOCUMENTS, Applied, Change, Plan, fill, shown

if TYPE_CHECKING:
    from keyrunbook.session import Run


def apply(
    run: Run,
    plan: Plan,
    whole: Callable[[], Plan] | None = None,
    *,
    parts: bool = False,
    before_first: Callable[[], None] | None = None,
) -> Applied:
    """Make the changes of `plan`, in order; gives what was made.

    `whole` plans the step again, from what is there now; with `parts`, `plan` is a part of that.
    `before_first` is called once nothing stands in the way of the first change.

    Raises ReadOnly in a run that may only read, ApprovalRequired where nobody approved exactly this
    on AWS, RunBusy while another process applies a step of the run, PlanStale where something was
    changed for it that the plan may not know of, and LockOut for a key policy under which the
    operator could not change it again, all before anything is changed; AwsRefused (or Unreachable,
    CredentialsMissing) at the first call that AWS refuses, OutcomeUnknown at one that may have been
    carried out: the changes before it stay, and the ledger holds them.
    """
    if not plan.changes:
        approval.check(run, plan, whole, parts=parts)
        return Applied(plan.step)
    if run.parameters.read_only:
        raise _only_read(plan if whole is None else whole())
    with run.ledger.applying():
        _check_current(run)
        approval.check(run, plan, whole, parts=parts)
        _check_lock_out(run, plan)
        if before_first is not None:
            before_first()
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


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What AWS said to a call that it was to check only: whether it would be served.

    `served` is None where AWS did not decide: it is busy, or cannot be reached, or takes the
    operator's credentials for none. `error` says why not, in words.
    """

    served: bool | None
    error: RunbookError | None = None


def rehearse(run: Run, change: Change) -> Rehearsed:
    """Have AWS check a call that it does not carry out.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/dry-run-resources.html and
    https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html
    """
    flag = {_DRY_RUN[change.service]: True}
    try:
        getattr(run.clients(change.service), change.operation)(**change.parameters, **flag)
    except ClientError as error:
        if code_of(error) == "DryRunOperationException":
            return Rehearsed(True)
        return Rehearsed(False if judged(error) else None, explain(error))
    except BotoCoreError as error:
        return Rehearsed(None, explain(error))
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
        operator = who.operator(run.clients, who.planned(key_arn))
        control = keeps_control(operator, json.loads(change.parameters["Policy"]))
        if control.outcome is Outcome.DENIED:
            raise LockOut(
                f"{change.call} was not sent: under its policy {run.identity.arn} could not "
                f"change the policy of {key_arn} again ({control}).",
                f"It could with this: {control.mend}."
                if control.mend
                else "Keep a statement, or a permission of the operator's own, that allows "
                "kms:PutKeyPolicy.",
            )
        if control.outcome is Outcome.UNKNOWN:
            said = {"outcome": control.outcome.value, "why": str(control)}
            run.record("lock_out_check", call=change.call, **said)


def _check_current(run: Run) -> None:
    """Refuse a plan that does not know of all that was changed for the run.

    A plan is made after the run was opened; what another process changed since, it may have
    overlooked. So may one whose own call had an outcome that nobody knew.
    Raises PlanStale, OutcomeUnknown.
    """
    again = "Run the notebook again from its top: it plans from what is there now."
    if found := settle.all_of(run):
        said = "; ".join(f"{'made' if one.made else 'not made'} ({one.how})" for one in found)
        raise PlanStale(
            f"Nothing was changed: the outcome of a call was not known when this was planned, and "
            f"was looked up only now: {said}.",
            again,
        )
    if (newest := run.ledger.last_intent()) != run.seen.intent:
        raise PlanStale(
            f"Nothing was changed: another process has changed something for the run "
            f"{run.run_id!r} since it was opened here (line {newest} of its ledger).",
            again,
        )


def _check_unchanged(run: Run, change: Change) -> None:
    """Refuse to put a key policy in the place of another one than the plan knows of.

    Whatever somebody put meanwhile, another run too, would be lost. Raises PlanStale.
    """
    if change.call != "kms:PutKeyPolicy" or "policy" not in change.keep:
        return
    key = fill(change.parameters["KeyId"], run.known())
    try:
        now = run.clients("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    except (ClientError, BotoCoreError) as error:
        raise explain(error) from error
    if not policies.same(json.loads(now), json.loads(change.keep["policy"])):
        raise PlanStale(
            f"{change.call} was not sent: somebody changed the policy of {key} since this was "
            "planned, and that would be lost.",
            "Run the notebook again from its top: it plans from what is there now.",
        )


def _make(run: Run, change: Change) -> dict[str, Any]:
    """Make one change; gives what AWS answered, by the change's `gives`.

    Each sending is one intent and its outcome. The SDK sends nothing twice by itself: where AWS is
    busy or cannot be reached, and where no answer came and the change does not show, it is sent
    again, up to `settle_seconds`.
    """
    _check_unchanged(run, change)
    limit_s = settle_seconds(run.parameters, run.target)
    sending = _Sending(run, change)
    answer = wait_until(
        sending.attempt,
        limit_s,
        settle.INTERVAL_S[run.target],
        progress=run.waiting(f"{change.call} to be served"),
    )
    if isinstance(answer, NotYet):
        assert isinstance(answer.last, ClientError | BotoCoreError)
        raise explain(answer.last) from answer.last
    return answer


class _Sending:
    """One change on its way to AWS."""

    def __init__(self, run: Run, change: Change) -> None:
        self._run = run
        self._change = change
        known = run.known()
        self._parameters = {
            name: value if name in DOCUMENTS else fill(value, known)
            for name, value in change.parameters.items()
        }
        self._client = run.clients.once(change.service)
        self._way = settle.LOOK_UPS[change.call]
        self._in_doubt = False
        """Whether an earlier sending may have been carried out after all, and showed too late."""

    def attempt(self) -> dict[str, Any] | Pending:
        """Send it once: what it gives, or `Pending` with the error after which it is sent again."""
        change = self._change
        self._intend()
        try:
            answer = getattr(self._client, change.operation)(**self._parameters, **self._tokens())
        except (ClientError, BotoCoreError) as error:
            return self._failed(error)
        given = {name: settle.at(answer, path) for name, path in change.gives.items()}
        self._outcome(
            DONE, request_id=answer.get("ResponseMetadata", {}).get("RequestId"), gives=given
        )
        return given

    def _intend(self) -> None:
        run, change = self._run, self._change
        fields = {
            "call": change.call,
            "operator": run.identity.arn,
            "parameters": shown(self._parameters),
            "why": change.why,
            "undo": change.undo,
            "before": dict(change.keep),
            "answers": dict(change.gives),
        }
        run.seen.intent = run.record("intent", **fields)

    def _intent(self) -> Mapping[str, Any]:
        """The intent as the ledger has it."""
        return self._run.ledger.of_kind("intent")[-1]

    def _outcome(self, status: str, **fields: Any) -> None:
        self._run.record("outcome", call=self._change.call, status=status, **fields)

    def _failed(self, error: ClientError | BotoCoreError) -> dict[str, Any] | Pending:
        code = code_of(error) if isinstance(error, ClientError) else type(error).__name__
        status = _status_after(error)
        if self._in_doubt and code in self._way.repeated:
            found = settle.look(self._run, self._intent())
            if found.made:
                self._outcome(DONE, code=code, found=found.how, gives=dict(found.gives))
                return dict(found.gives)
        self._outcome(status, code=code, message=str(error))
        if status == UNKNOWN and self._change.call in settle.MAKES_ANOTHER:
            return self._looked_for(error)
        if status == UNKNOWN:
            found = settle.look_up(self._run, self._intent())
            if found.made:
                return dict(found.gives)
            self._in_doubt = True
        elif not may_be_sent_again(error):
            raise explain(error) from error
        return Pending(error)

    def _looked_for(self, error: ClientError | BotoCoreError) -> dict[str, Any]:
        """What a call without a token made, if it shows; it is never sent again by itself."""
        if settle.look(self._run, self._intent()).made:
            return dict(settle.look_up(self._run, self._intent()).gives)
        raise OutcomeUnknown(
            f"AWS gave no answer to {self._change.call}, and shows nothing of it: "
            f"{explain(error).what}",
            "Run the step again: it looks once more before it makes another.",
        ) from error

    def _tokens(self) -> dict[str, str]:
        """The tokens by which AWS knows a call that it has served already.

        The same for the same call of the run, until it was answered: also in another process.
        """
        operation = self._client.meta.service_model.operation_model(
            self._client.meta.method_to_api_mapping[self._change.operation]
        )
        if not operation.idempotent_members:
            return {}
        content = shown(self._parameters)
        answered, intent = 0, {}
        for entry in self._run.ledger.entries():
            if entry["kind"] == "intent":
                intent = entry
            elif entry["kind"] == "outcome" and entry["status"] in (DONE, REFUSED):
                answered += (intent["call"], intent["parameters"]) == (self._change.call, content)
        token = token_of(self._run.run_id, self._change.call, content, answered)
        return dict.fromkeys(operation.idempotent_members, token)


def token_of(run_id: str, call: str, content: Mapping[str, Any], answered: int) -> str:
    """A client token: 36 characters of a hash of the run, the call, its content and its ordinal."""
    text = json.dumps([run_id, call, content, answered], sort_keys=True)
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def _status_after(error: ClientError | BotoCoreError) -> str:
    """What is known of a call after this error.

    AWS refuses with a status of 4xx, and has changed nothing then. After a 5xx, a connection that
    broke or a time-out it may have.
    """
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return REFUSED if 400 <= status < 500 and status != 408 else UNKNOWN
    return NOT_MADE if isinstance(error, NEVER_SENT) else UNKNOWN
