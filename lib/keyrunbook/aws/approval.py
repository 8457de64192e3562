"""Nothing changes AWS but what a stored plan of the run says, once somebody has approved it.

A plan is stored as a line of the ledger and named by its digest; approving it is another line. An
approval holds for the steps of its plan until each has come to its end, also for a run that is
resumed; a plan made after that has another digest. On the sandbox approval is asked for only where
a digest is given.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyrunbook.errors import ApprovalRequired, LedgerDamaged, ParameterError
from keyrunbook.parameters import OF_ONE_CALL, outputs_option
from keyrunbook.plan import Plan, RunPlan, canonical, digest, fill
from keyrunbook.prices import PRICES

if TYPE_CHECKING:
    from keyrunbook.ledger import Ledger
    from keyrunbook.session import Run

BY_PARAMETER = "the parameter approve"
_SHOWN_LINES = 40  # of a difference, in the error; the ledger has it whole

Form = Mapping[str, Any]
"""What of a change counts: the call, its parameters, and what was there before."""


# Plans in the ledger


def plan_of(run: Run, plan: Plan) -> RunPlan:
    """One step's plan, as it is approved alone."""
    return plan_of_all(run, [plan], [plan.step])


def plan_of_all(run: Run, plans: Sequence[Plan], chosen: Sequence[str]) -> RunPlan:
    """The plans of several steps, to be approved together; `chosen` names all that are to run."""
    who, given = run.identity, json.loads(run.parameters.model_dump_json(exclude_unset=True))
    done = [entry["step"] for entry in run.ledger.of_kind("done")]
    return RunPlan(
        run.run_id,
        who.partition,
        run.region,
        who.account,
        tuple(plans),
        tuple(chosen),
        {name: value for name, value in given.items() if name not in OF_ONE_CALL},
        sum(done.count(plan.step) for plan in plans),
    )


def store(run: Run, plan: RunPlan) -> str:
    """Keep the plan in the run's ledger, once; gives its digest."""
    content = plan.to_dict()
    name = digest(content)
    if all(entry["digest"] != name for entry in run.ledger.of_kind("plan")):
        run.record("plan", digest=name, plan=content)
    return name


def stored(ledger: Ledger, name: str, run_id: str) -> Mapping[str, Any]:
    """The plan of that digest.

    Raises ParameterError, naming the plans that there are, when there is none; LedgerDamaged when
    what the ledger keeps under it is another plan: a digest is seen elsewhere too, a chain is not.
    """
    plans = {entry["digest"]: entry["plan"] for entry in ledger.of_kind("plan")}
    if name not in plans:
        raise ParameterError(
            f"approve = {name!r} is no plan of the run {run_id!r}.",
            f"Its plans, the newest last: {', '.join(plans)}."
            if plans
            else f"Make one with: runbook plan --run-id {run_id}",
        )
    plan: Mapping[str, Any] = plans[name]
    if digest(plan) != name or plan["run_id"] != run_id:
        raise LedgerDamaged(
            f"{ledger.path} keeps another plan under the digest {name}.",
            "Somebody altered it. Start a new run, and plan again.",
        )
    return plan


# Approvals


def is_needed(run: Run) -> bool:
    """Whether a change needs an approved plan: on AWS, and wherever a digest is given."""
    return run.target == "aws" or run.parameters.approve is not None


def approve(run: Run, name: str, how: str) -> None:
    """Note in the ledger that the operator approves the plan of that digest, and by what; once.

    Raises ParameterError when no plan of the run has the digest, LedgerDamaged as `stored` does.
    """
    stored(run.ledger, name, run.run_id)
    if all(entry["digest"] != name for entry in run.ledger.of_kind("approved")):
        run.record("approved", digest=name, operator=run.identity.arn, how=how)


def is_approved(run: Run, plan: Plan) -> bool:
    """Whether the plan, the whole of a step, may be applied as it is. Raises as `approve` does."""
    standing = _standing(run, plan.step)
    return standing is not None and _planned(run, plan, standing) == _left(run, plan.step, standing)


def check(run: Run, plan: Plan, whole: Callable[[], Plan] | None, *, parts: bool) -> None:
    """Raise ApprovalRequired unless an approved plan of the run says exactly this.

    `whole` plans the step again, from what is there now: that has to be what was approved, its
    symbols filled with what the approved changes gave; after a crash, what is left of it. A step
    that applies its plan in `parts` is compared as a whole before its first change; then each part
    has to be among what was approved, which it may be again after a crash. What costs is never
    made more often than it was approved. What is planned instead is stored, to be approved.

    Raises ParameterError and LedgerDamaged as `approve` does.
    """
    if not is_needed(run):
        return
    standing, again = _standing(run, plan.step), whole or (lambda: plan)
    if standing is None:
        if plan.changes:
            raise _required(run, again())
        return
    asked = _planned(run, plan, standing)
    if not parts:
        wanted = _left(run, plan.step, standing)
        now = again() if asked or wanted else plan
        for planned in (_planned(run, now, standing), asked):
            if planned != wanted:
                raise _changed(run, now, wanted, planned, standing["digest"])
        return
    if not asked:
        return
    approved, begun = _approved(run, plan.step, standing), _begun(run, plan.step, standing)
    if not begun:
        now = again()
        if (planned := _planned(run, now, standing)) != approved:
            raise _changed(run, now, approved, planned, standing["digest"])
    costly = [form for form in asked if form["call"] in PRICES]
    alien = any(form not in approved for form in asked)
    if alien or _more_than(costly, _left(run, plan.step, standing)):
        raise _changed(run, again(), approved, asked, standing["digest"])


def _standing(run: Run, step: str) -> Mapping[str, Any] | None:
    """The newest approved plan that speaks of the step, with the approval's line number as `n`.

    None where there is none, or the step has come to its end since.
    """
    if run.parameters.approve is not None:
        approve(run, run.parameters.approve, BY_PARAMETER)
    for entry in reversed(run.ledger.of_kind("approved")):
        plan = stored(run.ledger, entry["digest"], run.run_id)
        if any(one["step"] == step for one in plan["steps"]):
            ended = [one["n"] for one in run.ledger.of_kind("done", step)]
            used = any(n > entry["n"] for n in ended)
            return None if used else {**entry, "plan": plan}
    return None


# Changes, compared


def _forms(changes: Iterable[Mapping[str, Any]], known: Mapping[str, Any]) -> list[Form]:
    """What counts of changes, with the symbols filled that are known by now."""
    return [_form(fill(change, known, partly=True)) for change in changes]


def _form(change: Mapping[str, Any]) -> Form:
    return {
        "call": change["call"],
        "parameters": canonical(change["parameters"]),
        "before": canonical(change["before"]),
    }


def _given(run: Run, standing: Mapping[str, Any]) -> dict[str, Any]:
    """What the changes that were made since the approval gave, by symbol: nothing else fills one.

    So a plan on a key that is still to be made is not applied to another one.
    """
    return {
        f"{intent['step'].split('_', 1)[1]}.{name}": value
        for intent, outcome in run.ledger.served()
        if intent["n"] > standing["n"]
        for name, value in outcome["gives"].items()
    }


def _planned(run: Run, plan: Plan, standing: Mapping[str, Any]) -> list[Form]:
    return _forms((change.to_dict() for change in plan), _given(run, standing))


def _approved(run: Run, step: str, standing: Mapping[str, Any]) -> list[Form]:
    """The approved changes of the step."""
    changes = next(one["changes"] for one in standing["plan"]["steps"] if one["step"] == step)
    return _forms(changes, _given(run, standing))


def _left(run: Run, step: str, standing: Mapping[str, Any]) -> list[Form]:
    """The approved changes of the step that AWS has not made since the approval."""
    left = _approved(run, step, standing)
    for intent, _ in run.ledger.served():
        form = _form(intent)
        if intent["n"] > standing["n"] and intent["step"] == step and form in left:
            left.remove(form)
    return left


def _more_than(asked: Iterable[Form], left: Sequence[Form]) -> bool:
    """Whether there is something in `asked` that is not in `left`, or not as often."""
    rest = list(left)
    for form in asked:
        if form not in rest:
            return True
        rest.remove(form)
    return False


def _begun(run: Run, step: str, standing: Mapping[str, Any]) -> bool:
    """Whether the step has changed something, or tried to, since the approval."""
    return any(entry["n"] > standing["n"] for entry in run.ledger.of_kind("intent", step))


# Errors


def _required(run: Run, whole: Plan) -> ApprovalRequired:
    name = store(run, plan_of(run, whole))
    return ApprovalRequired(
        f"{whole.step} would change this {_what(run)}: "
        f"{', '.join(change.call for change in whole)}. Nothing was changed.",
        _way_on(run, whole.step, name),
    )


def _changed(
    run: Run, now: Plan, wanted: Sequence[Form], planned: Sequence[Form], approved: str
) -> ApprovalRequired:
    """What was `planned` in place of what was `wanted`; `now` is offered to be approved instead."""
    lines = differences(wanted, planned)
    run.record("difference", approved=approved, lines=lines)
    name = store(run, plan_of(run, now))
    more = len(lines) - _SHOWN_LINES
    shown = [
        *lines[:_SHOWN_LINES],
        *([f"… and {more} more lines: runbook show {run.run_id}"] if more > 0 else []),
    ]
    begun = bool(run.ledger.of_kind("intent", now.step))
    when = "before its next change" if begun else "before it changed anything"
    return ApprovalRequired(
        f"{now.step} stopped {when}: the {_what(run)} is not as it was when the plan "
        f"{approved[:12]}… was approved. (-: approved, +: as it would be now)\n" + "\n".join(shown),
        _way_on(run, now.step, name),
    )


def _what(run: Run) -> str:
    return f"AWS account {run.identity.account}" if run.clients.is_aws else "sandbox"


def _way_on(run: Run, step: str, name: str) -> str:
    elsewhere = outputs_option(run.parameters)
    return (
        f"Approve it by the notebook's button or its parameter approve, or with: runbook run"
        f"{elsewhere} --run-id {run.run_id} --steps {step[:2]} --approve {name} (this step's plan "
        f"alone; runbook plan{elsewhere} --run-id {run.run_id} shows it, and more steps at once)."
    )


def differences(approved: Iterable[Form], now: Iterable[Form]) -> list[str]:
    """The lines that tell two lists of changes apart: ``-`` only approved, ``+`` only now."""
    before, after = (
        json.dumps(list(forms), indent=1, sort_keys=True).splitlines() for forms in (approved, now)
    )
    compared = difflib.unified_diff(before, after, lineterm="", n=2)
    return [line for line in compared if not line.startswith(("---", "+++", "@@"))]
