"""`runbook run`, `runbook plan` and `runbook resume`: the notebooks, without a person."""

from __future__ import annotations

import contextlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keyrunbook.cli.common import (
    COULD_NOT_BE_DONE,
    EXIT_STATUSES,
    approved_plan,
    check,
    check_as_planned,
    check_used,
    given_options,
    load,
    load_with_kept,
    outputs_folder,
    parameter_options,
    run_to_use,
)
from keyrunbook.errors import RunbookError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from keyrunbook.execution.runner import Order, Sandbox
    from keyrunbook.execution.selection import Selection
    from keyrunbook.parameters import Parameters, Target


@click.command(epilog=EXIT_STATUSES)
@parameter_options
@click.option(
    "--approve",
    metavar="DIGEST",
    help="Apply the plan that `runbook plan` stored in the run under this digest, with the "
    "parameters and steps that it was made for. Needed on AWS.",
)
@click.option(
    "--read-only",
    is_flag=True,
    help="An audit: only what reads can be called. Stops, with status 4, where something would "
    "have to change, and says what; ends with 0 where everything is so already.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print result.json on stdout and nothing else there; progress goes to stderr.",
)
@click.option(
    "--list-parameters",
    is_flag=True,
    help="Name the parameters, their defaults and what they mean, and run nothing.",
)
def run(
    pairs: tuple[tuple[str, str], ...],
    file: Path | None,
    steps: str | None,
    run_id: str | None,
    outputs: Path | None,
    target: str | None,
    profile: str | None,
    region: str | None,
    approve: str | None,
    read_only: bool,
    as_json: bool,
    list_parameters: bool,
) -> None:
    """Run the notebooks, without a person, to a verdict.

    Creates a key, lets Image Builder's execution role use it for workflows only, creates the
    encrypted workflow, proves from CloudTrail that this key protected it, takes the access away,
    gives it back and cleans up. Executed notebooks, ledger.jsonl and result.json are in
    outputs/<run id>/; result.json is written at the start, at each step and at the end, and tells
    the truth however the run ended.

    The default target is the sandbox: a small AWS on this machine, started for this run and ended
    with it. Nothing leaves the machine. (Where KEYRUNBOOK_SANDBOX names the hand-off file of a
    running one, that one is used. Going on with a run that was made on the sandbox of `runbook
    sandbox` uses that.)

    On AWS nothing is changed without a plan that was approved: `runbook plan` makes it and names
    the run and its digest. Where the account has changed since, the step stops before its first
    change, and shows the difference.

    \b
    Examples:
      runbook run
      runbook run --steps 00..04 -p key_alias alias/images -p tags '{team: images}'
      runbook run --target aws --profile images --region eu-central-1 --steps 00
      runbook run --target aws --run-id ID --approve DIGEST
      runbook run --target aws --profile audit -p account 111122223333 --read-only
      runbook run --json | jq -r .verdict
    """
    if list_parameters:
        click.echo(_parameters_text(), nl=False)
        return
    options = {
        "run_id": run_id,
        "outputs_dir": None if outputs is None else str(outputs),
        "target": target,
        "profile": profile,
        "region": region,
        "approve": approve,
        "read_only": read_only or None,
    }
    status = _run(pairs, file, {k: v for k, v in options.items() if v is not None}, steps, as_json)
    raise click.exceptions.Exit(status)


def _run(
    pairs: tuple[tuple[str, str], ...],
    file: Path | None,
    options: dict[str, Any],
    steps: str | None,
    as_json: bool,
) -> int:
    from keyrunbook.execution.runs import begun_with
    from keyrunbook.execution.selection import default_selection, parse_selection
    from keyrunbook.ledger import NAME, Ledger
    from keyrunbook.steps import STEPS

    parameters, given = load(pairs, file, options)
    by_person = set(given)
    outputs = outputs_folder(parameters)
    approved: Mapping[str, Any] | None = None
    if parameters.approve is not None:
        approved = approved_plan(parameters, outputs)
        check_as_planned(parameters, given, approved["parameters"])
        steps = steps or ",".join(name[:2] for name in approved["chosen"])
    # The steps and the target hang together: a run that is gone on with keeps its target.
    chosen = None if steps is None else parse_selection(steps, STEPS)
    run_id = run_to_use(parameters, outputs, STEPS[0] if chosen is None else chosen.steps[0])
    kept = begun_with(outputs / run_id) if approved is None else approved["parameters"]
    parameters, given = load_with_kept(pairs, file, options, given, kept)
    opened = Ledger(outputs / run_id / NAME).opened() or {}
    target = parameters.target or opened.get("target") or "sandbox"
    selection = chosen or default_selection(target, STEPS)
    check(parameters, target, opened, selection.steps)
    check_used(by_person, pairs, selection.steps)
    order = _order(parameters, given, run_id, target, selection)
    return _execute(order, opened, parameters, as_json)


def _order(
    parameters: Parameters, given: Iterable[str], run_id: str, target: Target, selection: Selection
) -> Order:
    """What is to be run: the parameters that were `given`, and the limits that they set."""
    from keyrunbook.execution.runner import Order
    from keyrunbook.parameters import event_wait_seconds
    from keyrunbook.steps import STEPS

    values = parameters.model_dump(mode="json")
    return Order(
        run_id=run_id,
        target=target,
        outputs_dir=outputs_folder(parameters),
        selection=selection,
        all_steps=STEPS,
        parameters={name: value for name, value in values.items() if name in given},
        cell_limit_s=parameters.cell_seconds + event_wait_seconds(parameters, target),
        start_limit_s=parameters.start_seconds,
    )


def _execute(order: Order, opened: Mapping[str, Any], parameters: Parameters, as_json: bool) -> int:
    """Runs the notebooks; gives the exit status."""
    from keyrunbook.execution.progress import progress_to
    from keyrunbook.execution.runner import run
    from keyrunbook.ledger import Ledger

    progress = progress_to(sys.stderr if as_json else sys.stdout)
    own = order.target == "sandbox" and order.to_do
    sandbox = _sandbox_for(opened, parameters) if own else None
    result = run(order, progress, sandbox=sandbox, journal=Ledger)
    if as_json:
        click.echo(result.to_json(), nl=False)
    return COULD_NOT_BE_DONE if result.exit_status is None else result.exit_status


@click.command(
    epilog="""\b
Exit status:
  0    planned, and stored in the run
  2    wrong usage, parameters or input file; a step before these is not done
  5    AWS refused or could not be reached"""
)
@parameter_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(
    pairs: tuple[tuple[str, str], ...],
    file: Path | None,
    steps: str | None,
    run_id: str | None,
    outputs: Path | None,
    target: str | None,
    profile: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Show what the steps would change, and store it as a plan to be approved.

    Each change with its call, parameters, why, undo and cost; then the run's id and the plan's
    digest, for `runbook run --run-id ID --approve DIGEST` or the notebooks' parameter approve.
    Values that AWS is still to give are symbols, such as ${create_key.key_arn}. AWS is read, and
    nothing in it is changed. On the sandbox it uses the one of `runbook sandbox`, which it starts
    where none runs.

    \b
    Examples:
      runbook plan --target aws --profile images --region eu-central-1
      runbook plan --run-id ID --steps 06
    """
    from keyrunbook.aws import approval
    from keyrunbook.execution.runs import begun_with
    from keyrunbook.execution.selection import default_selection, parse_selection
    from keyrunbook.ledger import NAME, Ledger
    from keyrunbook.parameters import outputs_option
    from keyrunbook.session import open_step
    from keyrunbook.show import tables
    from keyrunbook.show.access import policy_changes
    from keyrunbook.steps import STEPS
    from keyrunbook.steps.planning import plan_steps

    options = given_options(
        run_id=run_id, outputs_dir=outputs, target=target, profile=profile, region=region
    )
    parameters, given = load(pairs, file, options)
    folder = outputs_folder(parameters)
    chosen = None if steps is None else parse_selection(steps, STEPS).steps
    found = run_to_use(parameters, folder, STEPS[0] if chosen is None else chosen[0])
    opened = Ledger(folder / found / NAME).opened() or {}
    where = parameters.target or opened.get("target") or "sandbox"
    chosen = chosen or default_selection(where, STEPS).steps
    check(parameters, where, opened, chosen)
    check_used(given, pairs, chosen)
    kept = begun_with(folder / found)
    parameters, _ = load_with_kept(pairs, file, {**options, "run_id": found}, given, kept)
    run = open_step(chosen[0], parameters)
    try:
        planned = plan_steps(run, chosen)
    except RunbookError:
        if not opened:  # a run that nothing came of; what else lies in the folder is not ours
            run.ledger.path.unlink()
            with contextlib.suppress(OSError):
                run.folder.rmdir()
        raise
    name = approval.store(run, planned)
    if as_json:
        whole = {"digest": name, "chosen": chosen, **planned.to_dict()}
        click.echo(json.dumps(whole, indent=2, ensure_ascii=False))
        return
    click.echo(tables.run_plan_table(planned).text() + "\n")
    click.echo(policy_changes(planned).text() + "\n")
    click.echo(tables.banner_note(run), nl=bool(tables.banner_note(run)))
    click.echo(f"account: {run.identity.account}, Region {run.region}\nas:      {run.identity.arn}")
    click.echo(f"run id:  {found}\ndigest:  {name}")
    if len(planned):
        outside = outputs_option(parameters)
        click.echo(f"apply:   runbook run{outside} --run-id {found} --approve {name}")


@click.command(epilog=EXIT_STATUSES)
@click.argument("run_id")
@click.option(
    "--outputs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the runs' folders are. Default: outputs/ of the project.",
)
@click.option(
    "--approve",
    metavar="DIGEST",
    help="Go on with the plan that is stored in the run under this digest. Default: the one that "
    "was approved before, which stays approved.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print result.json on stdout and nothing else there; progress goes to stderr.",
)
def resume(run_id: str, outputs: Path | None, approve: str | None, as_json: bool) -> None:
    """Go on with a run that was killed, failed or was interrupted, to its end.

    Does the steps that are not done, with the steps and the parameters that the run was begun
    with. Notebooks that were run by hand are gone on with too: with the default steps, and the
    parameters that the ledger has. A call of which the run does not know whether AWS carried it
    out is looked up in AWS first; nothing is made twice. Where nothing is left to do it says so,
    and ends with the status that the run ended with.

    \b
    Examples:
      runbook resume 20260131-4f1c9a
      runbook resume 20260131-4f1c9a --json | jq -r .verdict
    """
    raise click.exceptions.Exit(
        _resume(given_options(run_id=run_id, outputs_dir=outputs, approve=approve), as_json)
    )


def _resume(options: dict[str, Any], as_json: bool) -> int:
    from dataclasses import replace

    from keyrunbook.execution.result import (
        EXIT_STATUS_OF_VERDICT,
        earlier_selection,
        stored_result,
    )
    from keyrunbook.execution.runs import (
        begun_with,
        check_not_running,
        existing,
        how_it_ended,
        left_to_do,
    )
    from keyrunbook.execution.selection import default_selection
    from keyrunbook.ledger import NAME, Ledger
    from keyrunbook.steps import STEPS

    run_id, outputs = options["run_id"], outputs_folder(load((), None, options)[0])
    folder = existing(outputs, run_id)
    entries, result = Ledger(folder / NAME).entries(), stored_result(folder)
    check_not_running(folder, result)
    opened = next((entry for entry in entries if entry["kind"] == "opened"), {})
    target: Target = opened.get("target") or result.get("target") or "sandbox"
    options = {**options, "target": target, "outputs_dir": str(outputs)}
    parameters, given = load_with_kept((), None, options, options, begun_with(folder))
    selection = earlier_selection(folder) or default_selection(target, STEPS)
    to_do = left_to_do(selection, result, entries)
    ended = how_it_ended(folder, result)
    if not to_do and result.get("status", "done") == "done":
        click.echo(f"There is nothing to go on with: {ended}.", err=as_json)
        if as_json:
            click.echo(json.dumps(result, indent=2, ensure_ascii=False))
        verdicts = [entry["verdict"] for entry in entries if entry["kind"] == "verdict"]
        by_verdict = EXIT_STATUS_OF_VERDICT[verdicts[-1]] if verdicts else 0
        return int(result.get("exit_status", by_verdict))
    click.echo(f"It stood here: {ended}.", err=as_json)
    check(parameters, target, opened, to_do)
    order = _order(parameters, given - {"target"}, run_id, target, selection)
    done = frozenset(selection.steps) - frozenset(to_do)
    return _execute(replace(order, done=done), opened, parameters, as_json)


def _sandbox_for(opened: Mapping[str, Any], parameters: Parameters) -> Callable[[], Sandbox] | None:
    """What starts the sandbox of a run; None when the environment hands one over.

    A run that was made on the shared sandbox goes on there; a new one gets one of its own, in the
    partition of the Region that is given.

    Raises:
        SandboxGone: the run was made on another one. What it left, its result too, stays.
    """
    from keyrunbook import sandboxes

    made_on = opened.get("sandbox")
    handed_over = sandboxes.handed_over()
    if made_on is None:
        region = () if parameters.region is None else ("--region", parameters.region)
        start = partial(
            sandboxes.start_private,
            sandboxes.TLS,
            *region,
            start_seconds=parameters.start_seconds,
        )
        return None if handed_over is not None else start
    there = handed_over or sandboxes.read(sandboxes.shared_path())
    if there is None or there.instance_id != made_on:
        raise sandboxes.gone(opened["run_id"])
    return None if handed_over is not None else _Shared


class _Shared:
    """The shared sandbox, which runs already and goes on when the run has ended."""

    def ready(self) -> None: ...

    def ended(self) -> None: ...

    def environment(self) -> dict[str, str]:
        from keyrunbook import sandboxes

        return {sandboxes.HANDED_OVER: str(sandboxes.shared_path())}

    def close(self) -> None: ...


def _parameters_text() -> str:
    """The parameters: name, default, meaning."""
    from keyrunbook.parameters import Parameters

    lines = []
    for name, field in Parameters.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None else f" [{default}]"
        lines.append(f"{name}{shown}\n    {field.description}\n")
    return "".join(lines)
