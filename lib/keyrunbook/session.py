"""The composition root: opens a run on the sandbox or on AWS, for one step of it."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyrunbook import chosen, sandboxes
from keyrunbook.aws import settle
from keyrunbook.aws.clients import Clients, Identity, aws_clients, sandbox_clients
from keyrunbook.aws.wait import Waited
from keyrunbook.errors import LedgerDamaged, ParameterError, RunbookError, StepMissing
from keyrunbook.ledger import NAME, Ledger, facts_of, find_run, new_run_id, run_folder
from keyrunbook.parameters import (
    Parameters,
    Target,
    check_role,
    check_together,
    outputs_dir,
    wrong_in,
)
from keyrunbook.plan import Plan
from keyrunbook.show.waiting import WaitBar
from keyrunbook.show.widgets import bundle, is_live
from keyrunbook.steps import NEEDS, STEPS

if TYPE_CHECKING:
    from keyrunbook.show.form import ParametersForm


@dataclass(slots=True)
class Seen:
    """The newest intent that a run's plans know of; one for all copies of a `Run`."""

    intent: int


class Run:
    """One execution of the runbook, opened for one step of it.

    `clients` gives boto3 clients, `parameters` the validated parameters, `ledger` the memory.
    """

    def __init__(
        self,
        step: str,
        run_id: str,
        folder: Path,
        target: Target,
        parameters: Parameters,
        clients: Clients,
    ) -> None:
        self.step = step
        self.run_id = run_id
        self.folder = folder
        self.target = target
        self.parameters = parameters
        self.clients = clients
        self.ledger = Ledger(folder / NAME)
        self.seen = Seen(self.ledger.last_intent())
        self.planned: tuple[Plan, ...] = ()
        """Plans that count as applied: a run that looks ahead plans what follows on them."""
        self.from_form: Mapping[str, Any] = {}
        """The parameters that were chosen in a form, where that is why they hold."""
        self.shows_wait: Callable[[str], Callable[[Waited], None]] = WaitBar
        self._foreseen: dict[str, Any] = {}

    @property
    def identity(self) -> Identity:
        """The operator."""
        return self.clients.identity

    @property
    def region(self) -> str:
        """The Region that the run works in."""
        return self.clients.region

    @property
    def tags(self) -> dict[str, str]:
        """The tags of what this run creates: the caller's, and the run's own."""
        return {**self.parameters.tags, "keyrunbook:run": self.run_id}

    def now(self) -> datetime:
        """The service's time."""
        return self.clients.now()

    def record(self, kind: str, **fields: Any) -> int:
        """Write one line into the ledger; gives its number."""
        time = self.now().astimezone(UTC).isoformat(timespec="milliseconds")
        return self.ledger.append(kind, step=self.step, time=time, **fields)

    def learn(self, **facts: Any) -> None:
        """Remember values for later steps."""
        self.record("facts", facts=facts)

    def facts(self) -> dict[str, Any]:
        """What the run knows so far; of one that looks ahead, what it will know, in symbols."""
        return {**self.ledger.facts(), **self._foreseen}

    def after(self, plan: Plan, leaves: Mapping[str, Any]) -> Run:
        """The run as it will be once `plan` is applied, which leaves these facts."""
        ahead = copy.copy(self)
        ahead.planned = (*self.planned, plan)
        ahead._foreseen = {**self._foreseen, **leaves}
        return ahead

    def at(self, step: str) -> Run:
        """The run, opened for another of its steps."""
        other = copy.copy(self)
        other.step = step
        return other

    def known(self) -> dict[str, Any]:
        """The values of the symbols that a plan may hold: ``create_key.key_arn``, …"""
        return {
            f"{entry['step'].split('_', 1)[1]}.{name}": value
            for entry in self.ledger.entries()
            for name, value in facts_of(entry).items()
        }

    def waiting(self, what: str) -> Callable[[Waited], None]:
        """What shows a wait for `what` in a notebook."""
        return self.shows_wait(what)

    def done(self) -> None:
        """Note that the step has come to its end."""
        self.record("done")

    def _repr_mimebundle_(self, **more: Any) -> Any:
        from keyrunbook.show.tables import run_banner

        static = run_banner(self).mimebundle()
        if not is_live() or self.step not in STEPS:
            return static
        from keyrunbook.execution.stepbar import StepBar

        bar = StepBar(self)
        bar.follow()
        shown, metadata = bundle(bar.box, **more)
        return {**shown, **static}, metadata


def open_run(step: str, namespace: dict[str, Any]) -> Run:
    """Open the run that a notebook belongs to; `namespace` is the notebook's ``globals()``.

    `run_id` unset means the newest unfinished run of `outputs_dir`; ``00`` and ``01`` open a new
    one where there is none. From here on the notebook shows errors as one message.

    Where a front end is alive, the run that was chosen there comes first, and values of its forms
    stand in for defaults of the parameters cell; the notebook's variables are set to what holds.

    Raises ParameterError, StepMissing (naming the step to run first), SandboxGone,
    CredentialsMissing, Unreachable.
    """
    from keyrunbook.show.errors import show_errors_as_messages

    note = show_errors_as_messages()
    given = Parameters.from_notebook(namespace)
    run = _open_chosen(step, namespace, given) if is_live() else open_step(step, given)
    note(run)
    return run


def parameters_form(step: str, namespace: dict[str, Any]) -> ParametersForm:
    """The parameters of a notebook: a table, and where a front end is alive a form.

    `namespace` is the notebook's ``globals()``. Wrong values show as such; `open_run` refuses them.

    Raises, where a front end is alive, LedgerDamaged, and ParameterError for a damaged form.
    """
    from keyrunbook.show.errors import show_errors_as_messages
    from keyrunbook.show.form import ParametersForm

    show_errors_as_messages()
    begins, given = NEEDS[step] is None, namespace.get("run_id")
    folder = namespace.get("outputs_dir")
    outputs = outputs_dir(
        Parameters(outputs_dir=None if wrong_in("outputs_dir", folder) else folder)
    )

    def run_id() -> str:
        if isinstance(given, str) and not wrong_in("run_id", given):
            return given
        return _current(outputs, begins=begins) or new_run_id()

    return ParametersForm(step, namespace, outputs, run_id, begins=begins)


def _chosen_run(outputs: Path) -> str | None:
    """The run that was chosen to go on with, unless it is finished; else the newest unfinished."""
    run_id = chosen.current(outputs)
    if run_id is not None and STEPS[-1] not in Ledger(outputs / run_id / NAME).done():
        return run_id
    return find_run(outputs, STEPS[-1])


def _open_chosen(step: str, namespace: dict[str, Any], given: Parameters) -> Run:
    """Open the run that was chosen, with what was chosen for it; from now on it is the current."""
    outputs, begins = outputs_dir(given), NEEDS[step] is None
    run_id = given.run_id or _current(outputs, begins=begins)
    kept = {} if run_id is None else chosen.kept(outputs, run_id)
    taken = chosen.take(namespace, kept, begins=begins)
    run = open_step(step, Parameters.load({**given.model_dump(exclude_unset=True), **taken.values}))
    if kept and run.run_id != run_id:
        chosen.keep(outputs, run.run_id, kept)
    chosen.go_on_with(outputs, run.run_id)
    chosen.put(namespace, taken)
    run.from_form = taken.from_form
    return run


def open_step(step: str, parameters: Parameters, *, finished: bool = False) -> Run:
    """Open a run for `step`, from validated parameters. Raises as `open_run` does.

    A run that was found, not named, and that cannot go on here (made on a sandbox that is gone, or
    on another target, or with a damaged ledger) is left alone where a new one can begin. A run that
    `06_clean_up` has finished is opened for nothing else, unless `finished` says that it may be.
    """
    outputs, begins = outputs_dir(parameters), NEEDS[step] is None
    run_id = parameters.run_id or _current(outputs, begins=begins)
    if run_id is None and not begins:
        raise StepMissing(
            f"There is no unfinished run in {outputs}, and {step} goes on from one.",
            f"Run {STEPS[1]} first, or name a run by run_id.",
        )
    opened = None if run_id is None else Ledger(outputs / run_id / NAME).opened()
    if opened is None and not begins:
        raise StepMissing(
            f"The run {run_id!r} has not begun, and {step} goes on from {NEEDS[step]}.",
            f"Run {NEEDS[step]} first, with the same run_id.",
        )
    target = parameters.target or (opened or {}).get("target") or "sandbox"
    clients = _clients(target, parameters, opened)
    if opened is not None and (elsewhere := _elsewhere(clients, target, opened)):
        if parameters.run_id is not None or not begins:
            raise elsewhere
        run_id = opened = None
    if opened is not None:
        _check_same(clients, parameters, opened)
    # The operator is known before anything is written: who cannot log in leaves no folder behind.
    _check_place(clients, target, parameters)
    run_id = run_id or new_run_id()
    folder = run_folder(outputs, run_id)
    run = Run(step, run_id, folder, target, parameters, clients)
    if opened is None:
        _open(run)
    _settle(run)
    if not finished:
        _check_unfinished(run)
    _check_needed(run, NEEDS[step])
    return run


def reach(
    parameters: Parameters, opened: Mapping[str, Any] | None = None
) -> tuple[Target, Clients]:
    """The target and clients to look at an account with; no run is opened, nothing is written.

    `opened` is the line that opened a run, to look where it works. Raises ParameterError,
    SandboxGone, CredentialsMissing, Unreachable, AwsRefused.
    """
    target: Target = parameters.target or (opened or {}).get("target") or "sandbox"
    clients = _clients(target, parameters, opened)
    if opened is not None:
        if elsewhere := _elsewhere(clients, target, opened):
            raise elsewhere
        _check_same(clients, parameters, opened)
    _check_place(clients, target, parameters)
    return target, clients


def _settle(run: Run) -> None:
    """Look up what became of calls whose outcome is unknown, before anything is planned.

    Raises RunBusy while another process may still be waiting for the answer, OutcomeUnknown.
    """
    if run.ledger.unsettled():
        with run.ledger.applying():
            settle.all_of(run)


def _current(outputs: Path, *, begins: bool) -> str | None:
    """The newest unfinished run; where a new one can begin, a damaged ledger is only told of."""
    try:
        return _chosen_run(outputs) if is_live() else find_run(outputs, STEPS[-1])
    except LedgerDamaged as damaged:
        if not begins:
            raise
        warnings.warn(f"{damaged.what} A new run begins.", stacklevel=3)
        return None


def _check_unfinished(run: Run) -> None:
    """Raise StepMissing where the run came to its end, and this is not its last step once more."""
    if run.step != STEPS[-1] and STEPS[-1] in run.ledger.done():
        raise StepMissing(
            f"The run {run.run_id!r} is finished: {STEPS[-1]} has removed what it made, so "
            f"{run.step} has nothing to work on.",
            f"Start a new run. What this one did is told by: runbook show {run.run_id}",
        )


def _check_needed(run: Run, needed: str | None) -> None:
    """Raise StepMissing, naming what failed there, unless the step that is needed is done."""
    if needed is None or needed in run.ledger.done():
        return
    kept = run.ledger.of_kind("findings", needed)
    failed = [one for one in (kept[-1]["findings"] if kept else ()) if one["status"] == "fail"]
    why = "".join(f" It found: {one['statement']}: fail ({one['evidence']})." for one in failed)
    raise StepMissing(
        f"{run.step} needs {needed}, which has not come to its end in the run {run.run_id!r}.{why}",
        f"Run {needed} first, with the same run_id.",
    )


def _clients(target: Target, parameters: Parameters, opened: Mapping[str, Any] | None) -> Clients:
    region = parameters.region or (opened or {}).get("region")
    check_together(parameters, target, region)
    read_only, answer_s = parameters.read_only, parameters.answer_seconds
    if target == "aws":
        return aws_clients(
            parameters.profile,
            region,
            use_fips=parameters.use_fips,
            read_only=read_only,
            answer_s=answer_s,
        )
    handoff = sandboxes.handed_over() or sandboxes.shared(parameters.start_seconds)
    clients = sandbox_clients(handoff, region, read_only=read_only, answer_s=answer_s)
    clients.renew()
    return clients


def _check_place(clients: Clients, target: Target, parameters: Parameters) -> None:
    """Refuse another account than the parameters name, or another Region than the key's."""
    account, wanted = clients.identity.account, parameters.account
    if wanted not in (None, account):
        raise ParameterError(
            f"The run is for the account {wanted} (account); {clients.identity.arn} is of the "
            f"account {account}.",
            f"Use credentials of the account {wanted}, or correct account.",
        )
    check_together(parameters, target, clients.region)
    check_role(parameters, account)


def _elsewhere(clients: Clients, target: Target, opened: Mapping[str, Any]) -> RunbookError | None:
    """Why a run that began elsewhere cannot go on here, or None."""
    if opened["target"] != target:
        return ParameterError(
            f"The run {opened['run_id']!r} began with target {opened['target']}; this is {target}.",
            f"Go on with target {opened['target']}, or start a new run.",
        )
    if opened["sandbox"] != clients.sandbox:
        return sandboxes.gone(opened["run_id"])
    return None


def _open(run: Run) -> None:
    run.record(
        "opened",
        run_id=run.run_id,
        target=run.target,
        account=run.identity.account,
        region=run.region,
        partition=run.identity.partition,
        operator=run.identity.arn,
        endpoint=run.clients.endpoint,
        is_aws=run.clients.is_aws,
        sandbox=run.clients.sandbox,
        parameters=json.loads(run.parameters.model_dump_json(exclude_unset=True)),
    )


def _check_same(clients: Clients, parameters: Parameters, opened: Mapping[str, Any]) -> None:
    """Refuse to go on with a run in another account or Region than where it began."""
    wanted = parameters.region or clients.region
    here = {"account": clients.identity.account, "region": wanted}
    for name, value in here.items():
        if opened[name] != value:
            raise ParameterError(
                f"The run {opened['run_id']!r} began with {name} {opened[name]}; this is {value}.",
                f"Go on with {name} {opened[name]}, or start a new run.",
            )
