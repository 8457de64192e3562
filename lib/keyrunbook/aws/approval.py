"""Nothing changes AWS but what a stored plan of the run says, once somebody has approved it.

A plan is stored as a line of the ledger and named by its digest; approving it is another line. An
approval holds for the steps of its plan until each has come to its end, also for a run that is
resumed. On the sandbox it is asked for only where a digest is given.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keyrunbook.errors import ApprovalRequired, ParameterError
from keyrunbook.plan import Plan, RunPlan, canonical, digest, fill

if TYPE_CHECKING:
    from keyrunbook.ledger import Ledger
    from keyrunbook.session import Run

_OF_A_CALL = {"run_id", "outputs_dir", "approve"}
"""Parameters that say which run it is and what is done with it, not what the plan is made of."""
BY_PARAMETER = "the parameter approve"
_SHOWN_LINES = 40  # of a difference, in the error; the ledger has it whole

Form = Mapping[str, Any]
"""A change as a plan's JSON has it, its symbols filled."""


def store(run: Run, plan: RunPlan, chosen: Sequence[str]) -> str:
    """Keep the plan in the run's ledger, once; gives its digest.

    With it the steps that it was `chosen` for, those that change nothing included, and the
    parameters that were given, so that it can be applied as it was made.
    """
    content = plan.to_dict()
    name = digest(content)
    if all(entry["digest"] != name for entry in run.ledger.of_kind("plan")):
        given = json.loads(run.parameters.model_dump_json(exclude_unset=True))
        parameters = {key: value for key, value in given.items() if key not in _OF_A_CALL}
        run.record("plan", digest=name, chosen=list(chosen), parameters=parameters, plan=content)
    return name


def stored(ledger: Ledger, name: str, run_id: str) -> Mapping[str, Any]:
    """The line of the ledger that keeps the plan of that digest.

    Raises ParameterError, naming the plans that there are, when there is none.
    """
    plans = {entry["digest"]: entry for entry in ledger.of_kind("plan")}
    if name not in plans:
        raise ParameterError(
            f"approve = {name!r} is no plan of the run {run_id!r}.",
            f"Its plans, the newest last: {', '.join(plans)}."
            if plans
            else f"Make one with: runbook plan --run-id {run_id}",
        )
    return plans[name]


def plan_of(run: Run, plan: Plan) -> RunPlan:
    """One step's plan, as it is approved alone."""
    who = run.identity
    return RunPlan(run.run_id, who.partition, run.region, who.account, (plan,))


def approve(run: Run, name: str, how: str) -> None:
    """Note in the ledger that the operator approves the plan of that digest, and by what.

    Where it is approved already for the run's step, and not used up, nothing is added.
    Raises ParameterError, naming the plans that there are, when none of the run has the digest.
    """
    plan = stored(run.ledger, name, run.run_id)["plan"]
    standing = _standing(run, run.step)
    if _speaks_of(plan, run.step) and (standing is None or standing["digest"] != name):
        run.record("approved", digest=name, operator=run.identity.arn, how=how)


def is_needed(run: Run) -> bool:
    """Whether a change needs an approved plan: on AWS, and wherever a digest is given."""
    return run.target == "aws" or run.parameters.approve is not None


def is_approved(run: Run, plan: Plan) -> bool:
    """Whether the plan may be applied as it is, as a whole.

    Raises ParameterError when the parameter `approve` is no plan of this run.
    """
    if run.parameters.approve is not None:
        approve(run, run.parameters.approve, BY_PARAMETER)
    standing = _standing(run, plan.step)
    return standing is not None and _planned(run, plan) == _remaining(run, standing, plan.step)


def check(run: Run, plan: Plan, part_of: Callable[[], Plan] | None) -> None:
    """Raise ApprovalRequired unless an approved plan of the run says exactly this.

    Before the step's first mutation all that it would change now must be what was approved, its
    symbols filled from the ledger; after a crash, what is left of it. `part_of` gives the whole of
    a step that applies its plan in parts. What was planned instead is stored, to be approved.

    Raises ParameterError when `approve` is no plan of this run.
    """
    if not is_needed(run):
        return
    given = run.parameters.approve
    if given is not None:
        approve(run, given, BY_PARAMETER)
    standing = _standing(run, plan.step)
    if standing is None:
        raise _required(run, plan if part_of is None else part_of())
    approved = _filled(run, standing, plan.step)
    now = plan
    if part_of is None:
        wanted = _remaining(run, standing, plan.step)
    elif _begun(run, standing, plan.step):
        asked = _planned(run, plan)
        wanted = asked if all(form in approved for form in asked) else approved
    else:
        now, wanted = part_of(), approved
    if _planned(run, now) != wanted:
        raise _changed(run, now, wanted, standing["digest"])


def _standing(run: Run, step: str) -> Mapping[str, Any] | None:
    """The newest approved plan that speaks of the step, with the approval's line number as `n`.

    None where there is none, or the step has come to its end since.
    """
    plans = {entry["digest"]: entry["plan"] for entry in run.ledger.of_kind("plan")}
    for entry in reversed(run.ledger.of_kind("approved")):
        plan = plans[entry["digest"]]
        if _speaks_of(plan, step):
            ended = [one["n"] for one in run.ledger.of_kind("done", step)]
            used = any(n > entry["n"] for n in ended)
            return None if used else {**entry, "plan": plan}
    return None


def _speaks_of(plan: Mapping[str, Any], step: str) -> bool:
    return any(one["step"] == step for one in plan["steps"])


def _forms(run: Run, changes: Iterable[Mapping[str, Any]]) -> list[Form]:
    """What counts of changes, with the symbols that the run can fill by now."""
    known = run.known()
    return [_form(fill(change, known, partly=True)) for change in changes]


def _planned(run: Run, plan: Plan) -> list[Form]:
    return _forms(run, (change.to_dict() for change in plan))


def _form(change: Mapping[str, Any]) -> Form:
    """What of a change counts: the call, its parameters, and what was there before."""
    form = canonical({name: change[name] for name in ("call", "parameters", "before")})
    assert isinstance(form, dict)
    return form


def _filled(run: Run, standing: Mapping[str, Any], step: str) -> list[Form]:
    """The approved changes of the step, their symbols filled from the ledger."""
    changes = next(one["changes"] for one in standing["plan"]["steps"] if one["step"] == step)
    return _forms(run, changes)


def _remaining(run: Run, standing: Mapping[str, Any], step: str) -> list[Form]:
    """The approved changes of the step that AWS has not made since the approval."""
    left = _filled(run, standing, step)
    for intent, _ in run.ledger.served():
        form = _form(intent)
        if intent["n"] > standing["n"] and intent["step"] == step and form in left:
            left.remove(form)
    return left


def _begun(run: Run, standing: Mapping[str, Any], step: str) -> bool:
    """Whether the step has changed something, or tried to, since the approval."""
    return any(entry["n"] > standing["n"] for entry in run.ledger.of_kind("intent", step))


def _required(run: Run, whole: Plan) -> ApprovalRequired:
    name = store(run, plan_of(run, whole), [whole.step])
    return ApprovalRequired(
        f"{whole.step} would change this {_what(run)}: "
        f"{', '.join(change.call for change in whole)}. Nothing was changed.",
        _way_on(run, whole.step, name),
    )


def _changed(run: Run, now: Plan, wanted: Sequence[Form], approved: str) -> ApprovalRequired:
    lines = differences(wanted, _planned(run, now))
    run.record("difference", approved=approved, lines=lines)
    name = store(run, plan_of(run, now), [now.step])
    more = len(lines) - _SHOWN_LINES
    shown = [*lines[:_SHOWN_LINES], *([f"… and {more} more lines"] if more > 0 else [])]
    return ApprovalRequired(
        f"{now.step} stopped before it changed anything: the {_what(run)} is not as it was when "
        f"the plan {approved[:12]}… was approved. (-: approved, +: as it would be now)\n"
        + "\n".join(shown),
        _way_on(run, now.step, name),
    )


def _what(run: Run) -> str:
    return f"AWS account {run.identity.account}" if run.clients.is_aws else "sandbox"


def _way_on(run: Run, step: str, name: str) -> str:
    return (
        f"Approve it by the notebook's button or its parameter approve, or with: runbook run "
        f"--run-id {run.run_id} --steps {step[:2]} --approve {name} (this step's plan alone; "
        f"runbook plan --run-id {run.run_id} shows it, and more steps at once)."
    )


def differences(approved: Iterable[Form], now: Iterable[Form]) -> list[str]:
    """The lines that tell two lists of changes apart: ``-`` only approved, ``+`` only now."""
    before, after = (
        json.dumps(list(forms), indent=1, sort_keys=True).splitlines() for forms in (approved, now)
    )
    compared = difflib.unified_diff(before, after, lineterm="", n=2)
    return [line for line in compared if not line.startswith(("---", "+++", "@@"))]
