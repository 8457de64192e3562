"""The `runbook` command.

Every import that takes time is made where it is needed, so that `runbook --help` is quick. Errors
that a person can do something about are `RunbookError`s: one sentence, what to do, no traceback.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from keyrunbook.errors import ParameterError, RunbookError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from keyrunbook.aws.wait import Waited
    from keyrunbook.execution.direct import Command
    from keyrunbook.execution.given import FromFile
    from keyrunbook.execution.runner import Order, Sandbox
    from keyrunbook.execution.selection import Selection
    from keyrunbook.parameters import Parameters, Target
    from keyrunbook.permissions import Where

EXIT_STATUSES = """\b
Exit status:
  0    done; the verdict is PROVED, or the steps end before a verdict
  1    the answer is no: REFUTED
  2    wrong usage, parameters or input file
  3    not known yet: NOT_YET
  4    waits for approval
  5    could not be done: a step failed, AWS refused or could not be reached
  130  interrupted"""

INTERRUPTED = 130
COULD_NOT_BE_DONE = 5


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_STATUSES,
)
@click.version_option(package_name="keyrunbook", prog_name="runbook")
def runbook() -> None:
    """Encrypt EC2 Image Builder workflows under your own KMS key, and prove it from CloudTrail.

    The runbook is seven notebooks. This command runs them without a person, on a small AWS that
    runs on this machine (the sandbox) or on an AWS account.

    \b
    runbook run            all seven, on a sandbox of their own, to a verdict
    runbook plan           what they would change, call by call, to be approved
    runbook resume         go on with a run that was killed, failed or was interrupted
    runbook lab            the same notebooks, to read and run by hand
    runbook runs           the runs so far, and how each ended
    runbook show           the story of one run
    runbook prove          prove it for a workflow that is there, whoever made it
    runbook revoke         take the role's access away; `runbook restore` gives it back
    runbook emergency-stop disable the key; --undo enables it
    runbook sandbox        the sandbox alone, for any AWS client
    runbook permissions    the least that an operator must be allowed, as an IAM policy
    """


_PARAMETER_OPTIONS = (
    click.option(
        "-p",
        "pairs",
        type=(str, str),
        multiple=True,
        metavar="NAME VALUE",
        help="Set a parameter of the notebooks, such as `-p key_alias alias/mine`. Text stays "
        "text: `-p run_id 012` is 012. May be repeated; `runbook run --list-parameters` names "
        "them all.",
    ),
    click.option(
        "--parameters",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.yaml",
        help="Read parameters from a file, one `name: value` on a line. -p and options win over "
        "it.",
    ),
    click.option(
        "--steps",
        metavar="STEPS",
        help="Which steps: a range (00..04), a list (00,02) or one (03). Default: all seven on the "
        "sandbox, 00..04 on AWS, because 05 and 06 undo what the run was for. After a verdict "
        "other than PROVED, 05 and 06 run only when they are named here.",
    ),
    click.option(
        "--run-id",
        metavar="ID",
        help="The run to begin or to go on with. Default: a new run when the steps begin with 00 "
        "or 01, else the newest unfinished one in the outputs folder.",
    ),
    click.option(
        "--outputs",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where the run's folder goes. Default: outputs/ of the project.",
    ),
    click.option(
        "--target",
        type=click.Choice(["sandbox", "aws"]),
        help="Where the steps act. Default: the run's own; of a new one, the sandbox.",
    ),
    click.option("--profile", metavar="NAME", help="AWS profile to use, with --target aws."),
    click.option("--region", metavar="REGION", help="AWS Region to work in."),
)


def _parameter_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which run it is, where, and with which parameters."""
    for option in reversed(_PARAMETER_OPTIONS):
        command = option(command)
    return command


@runbook.command(epilog=EXIT_STATUSES)
@_parameter_options
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


@runbook.command(
    epilog="""\b
Exit status:
  0    planned, and stored in the run
  2    wrong usage, parameters or input file; a step before these is not done
  5    AWS refused or could not be reached"""
)
@_parameter_options
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
    from keyrunbook.steps import STEPS
    from keyrunbook.steps.planning import plan_steps

    options = _given(
        run_id=run_id, outputs_dir=outputs, target=target, profile=profile, region=region
    )
    parameters, given = _load(pairs, file, options)
    folder = _outputs_dir(parameters)
    chosen = None if steps is None else parse_selection(steps, STEPS).steps
    found = _run_id(parameters, folder, STEPS[0] if chosen is None else chosen[0])
    opened = Ledger(folder / found / NAME).opened() or {}
    where = parameters.target or opened.get("target") or "sandbox"
    chosen = chosen or default_selection(where, STEPS).steps
    _check(parameters, where, opened, chosen)
    _check_used(given, pairs, chosen)
    kept = begun_with(folder / found)
    options |= {name: value for name, value in kept.items() if name not in given}
    parameters, _ = _load(pairs, file, {**options, "run_id": found})
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
    click.echo(tables.banner_note(run), nl=bool(tables.banner_note(run)))
    click.echo(f"account: {run.identity.account}, Region {run.region}\nas:      {run.identity.arn}")
    click.echo(f"run id:  {found}\ndigest:  {name}")
    if len(planned):
        outside = outputs_option(parameters)
        click.echo(f"apply:   runbook run{outside} --run-id {found} --approve {name}")


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

    parameters, given = _load(pairs, file, options)
    by_person = set(given)
    outputs = _outputs_dir(parameters)
    approved: Mapping[str, Any] | None = None
    if parameters.approve is not None:
        approved = _approved(parameters, outputs)
        _check_as_planned(parameters, given, approved["parameters"])
        steps = steps or ",".join(name[:2] for name in approved["chosen"])
    # The steps and the target hang together: a run that is gone on with keeps its target.
    chosen = None if steps is None else parse_selection(steps, STEPS)
    run_id = _run_id(parameters, outputs, STEPS[0] if chosen is None else chosen.steps[0])
    kept = begun_with(outputs / run_id) if approved is None else approved["parameters"]
    options = {**{k: v for k, v in kept.items() if k not in given}, **options}
    parameters, given = _load(pairs, file, options)
    opened = Ledger(outputs / run_id / NAME).opened() or {}
    target = parameters.target or opened.get("target") or "sandbox"
    selection = chosen or default_selection(target, STEPS)
    _check(parameters, target, opened, selection.steps)
    _check_used(by_person, pairs, selection.steps)
    order = _order(parameters, given, run_id, target, selection)
    return _execute(order, opened, parameters, as_json)


def _check_as_planned(
    parameters: Parameters, given: Iterable[str], planned: Mapping[str, Any]
) -> None:
    """Refuse a parameter that is another than the approved plan was made with.

    Raises:
        ParameterError: naming it, and both values.
    """
    from keyrunbook.parameters import Parameters

    then, now = Parameters.load(planned).model_dump(), parameters.model_dump()
    for name in sorted(set(given) - {"run_id", "outputs_dir", "approve", "profile", "read_only"}):
        if now[name] != then[name]:
            raise ParameterError(
                f"{name} = {now[name]!r}, but the plan was made with {then[name]!r}.",
                "Leave it out: a plan is applied with its own parameters. Or plan again.",
            )


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
        outputs_dir=_outputs_dir(parameters),
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


@runbook.command(epilog=EXIT_STATUSES)
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

    
    Examples:
      runbook resume 20260131-4f1c9a
      runbook resume 20260131-4f1c9a --json | jq -r .verdict
    """
    raise click.exceptions.Exit(
        _resume(_given(run_id=run_id, outputs_dir=outputs, approve=approve), as_json)
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

    run_id, outputs = options["run_id"], _outputs_dir(_load((), None, options)[0])
    folder = existing(outputs, run_id)
    entries, result = Ledger(folder / NAME).entries(), stored_result(folder)
    check_not_running(folder, result)
    opened = next((entry for entry in entries if entry["kind"] == "opened"), {})
    target: Target = opened.get("target") or result.get("target") or "sandbox"
    kept = {name: value for name, value in begun_with(folder).items() if name not in options}
    options = {**options, "target": target, "outputs_dir": str(outputs)}
    parameters, given = _load((), None, {**kept, **options})
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
    _check(parameters, target, opened, to_do)
    order = _order(parameters, given - {"target"}, run_id, target, selection)
    done = frozenset(selection.steps) - frozenset(to_do)
    return _execute(replace(order, done=done), opened, parameters, as_json)


def _check(
    parameters: Parameters, target: Target, opened: Mapping[str, Any], steps: Sequence[str]
) -> None:
    """Find what would stop a step later on and can be known now, without asking anybody.

    Raises:
        ParameterError: parameters contradict each other, the target or the AWS configuration, or
            the workflow document is not one.
    """
    from keyrunbook.parameters import check_together, workflow_document

    region = parameters.region or opened.get("region")
    check_together(parameters, target, region)
    if target == "aws":
        from keyrunbook.aws.clients import aws_session

        session, _ = aws_session(parameters.profile, region, parameters.use_fips)
        check_together(parameters, target, session.region_name)
    if any(step.startswith("03") for step in steps) and parameters.workflow_uri is None:
        workflow_document(parameters)


def _check_used(
    given: Iterable[str], pairs: Iterable[tuple[str, str]], steps: Sequence[str]
) -> None:
    """Refuse a `-p` for other steps than these; of a file, which may be for all, tell of it.

    Raises:
        ParameterError: it would be without effect.
    """
    from keyrunbook.execution.given import names_in, without_effect
    from keyrunbook.execution.runner import notebooks_dir
    from keyrunbook.steps import STEPS

    if set(steps) == set(STEPS):
        return
    uses = {step: names_in(notebooks_dir() / f"{step}.ipynb") for step in STEPS}
    for name, users in without_effect(sorted(given), steps, uses).items():
        what = f"{name} is for {' and '.join(users)} only, which this does not run"
        if name in dict(pairs):
            raise ParameterError(
                f"-p {name} would be without effect: {what}.",
                "Leave it out. It changes nothing that those steps have made already; to have it "
                "otherwise, start a new run.",
            )
        click.echo(f"Note: {what}.", err=True)


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
        options = () if parameters.region is None else ("--region", parameters.region)
        start = partial(sandboxes.start_private, *options, start_seconds=parameters.start_seconds)
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


def _load(
    pairs: tuple[tuple[str, str], ...], file: Path | None, options: dict[str, Any]
) -> tuple[Parameters, set[str]]:
    """The parameters, and the names of those that were given."""
    from keyrunbook.execution.given import FromFile, read_file, read_pairs
    from keyrunbook.parameters import Parameters

    types = {name: field.annotation for name, field in Parameters.model_fields.items()}
    from_file = FromFile(Path(), {}, {}) if file is None else read_file(file, types)
    from_pairs = read_pairs(pairs, types)
    for name, value in options.items():
        if name in from_pairs and from_pairs[name] != value:
            option = {"outputs_dir": "outputs"}.get(name, name.replace("_", "-"))
            raise ParameterError(
                f"-p {name} {from_pairs[name]!r} and --{option} {value!r} contradict each other.",
                "Give one of them.",
            )
    given = {**from_file.values, **from_pairs, **options}
    try:
        return Parameters.load(given), set(given)
    except ParameterError:
        _blame(from_file, given)
        raise


def _blame(from_file: FromFile, given: dict[str, Any]) -> None:
    """Raises the error of the first parameter in the file that is wrong by itself, with its line.

    Raises:
        ParameterError: there is one; what overrides the file is not looked at.
    """
    from keyrunbook.parameters import Parameters

    for name, value in from_file.values.items():
        if given[name] is value:
            try:
                Parameters.load({name: value})
            except ParameterError as error:
                raise ParameterError(f"{from_file.place(name)}: {error.what}", error.fix) from None


def _approved(parameters: Parameters, outputs: Path) -> Mapping[str, Any]:
    """The stored plan that `approve` names: the ledger's line.

    Raises:
        ParameterError: no run is named, or it has no such plan.
    """
    from keyrunbook.aws.approval import stored
    from keyrunbook.ledger import NAME, Ledger

    if parameters.run_id is None:
        raise ParameterError(
            "--approve names a plan, but no run is named.", "Give its run by --run-id."
        )
    ledger = Ledger(outputs / parameters.run_id / NAME)
    return stored(ledger, parameters.approve or "", parameters.run_id)


def _outputs_dir(parameters: Parameters) -> Path:
    """Where the runs' folders are, absolute."""
    from keyrunbook.parameters import outputs_dir

    return outputs_dir(parameters)


def _run_id(parameters: Parameters, outputs: Path, first_step: str) -> str:
    """The run to begin or to go on with.

    Raises:
        ParameterError: the first step needs a run, and there is no unfinished one.
    """
    from keyrunbook.ledger import find_run, new_run_id
    from keyrunbook.steps import STEPS

    if parameters.run_id is not None:
        return parameters.run_id
    if first_step in STEPS[:2]:
        return new_run_id()
    if (found := find_run(outputs, STEPS[-1])) is None:
        raise ParameterError(
            f"{first_step} goes on with a run, and {outputs} holds no unfinished one.",
            f"Begin one (--steps 00..{first_step[:2]}), or name one with --run-id.",
        )
    return found


def _parameters_text() -> str:
    """The parameters: name, default, meaning."""
    from keyrunbook.parameters import Parameters

    lines = []
    for name, field in Parameters.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None else f" [{default}]"
        lines.append(f"{name}{shown}\n    {field.description}\n")
    return "".join(lines)


@runbook.command(
    epilog="""\b
Exit status:
  0    ended as asked, or the command was carried out
  2    wrong usage
  5    could not be started, or there is no running one to tell
  130  interrupted"""
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port to serve on; 0: a free one.")
@click.option("--host", help="Address to serve on. Default: 127.0.0.1, this machine only.")
@click.option("--tls", is_flag=True, help="Serve HTTPS; `ca_bundle` names the authority's file.")
@click.option("--seed", type=int, help="Make identifiers repeatable.")
@click.option("--clock", metavar="ISO8601", help="Time at which the sandbox's clock starts.")
@click.option(
    "--event-delay",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Time until LookupEvents shows a call; on AWS it is minutes.",
)
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="What is to go wrong, and when: see docs/faults.md.",
)
@click.option("--account", metavar="ID", help="Account number, 12 digits.")
@click.option("--region", metavar="REGION", help="Region of the credentials' clients.")
@click.option("--status", "command", flag_value="status", help="Tell about the running one.")
@click.option("--stop", "command", flag_value="stop", help="End the running one.")
@click.option(
    "--new-account",
    "command",
    flag_value="new-account",
    help="Make a fresh account in the running one; prints its line of JSON.",
)
@click.option(
    "--advance",
    metavar="DURATION",
    help="Move the running one's clock forward: 90s, 15m, 2h, 3d or 1h30m.",
)
def sandbox(command: str | None, advance: str | None, **options: Any) -> None:
    """Serve a small AWS on this machine, until SIGTERM or Ctrl-C.

    It speaks AWS's protocols to any client that is given its endpoint: boto3, the aws command,
    Terraform. Image Builder workflows, KMS, STS, IAM and CloudTrail's LookupEvents, each call
    authorised by IAM and key policies as AWS does it, each leaving a CloudTrail record. It is not
    AWS: nothing is built, nothing is kept after its end, nothing costs anything.

    When ready it prints one JSON line: endpoint_url, region, account, access_key_id,
    secret_access_key, ca_bundle. The credentials are those of an administrator, not of root, and
    worth nothing elsewhere. There is one for each user of the machine; notebooks find it.

    \b
    Examples:
      runbook sandbox --port 4566
      runbook sandbox --status
      runbook sandbox --advance 15m
      runbook sandbox --new-account
    """
    wanted = {name: value for name, value in options.items() if value not in (None, False)}
    commands = [f"--{command}"] * (command is not None) + ["--advance"] * (advance is not None)
    if len(commands) > 1:
        raise click.UsageError(f"{' and '.join(commands)} do not go together: give one.")
    if commands and wanted:
        names = ", ".join("--" + name.replace("_", "-") for name in wanted)
        raise click.UsageError(f"{commands[0]} is for the running sandbox; leave out {names}.")
    if advance is not None:
        click.echo(_tell("advance", seconds=_seconds(advance)))
    elif command is not None:
        click.echo(_tell(command))
    else:
        _serve(wanted)


def _serve(wanted: dict[str, Any]) -> None:
    """Becomes the sandbox's process: signals, output and exit status are its own."""
    from keyrunbook import sandboxes

    path = sandboxes.shared_place()
    lock = sandboxes.hold_start(path)
    if (running := sandboxes.read(path)) is not None:
        raise RunbookError(
            f"A sandbox is running already, at {running.endpoint_url} (process {running.pid}).",
            "Use it, or end it with: runbook sandbox --stop",
        )
    words = [sys.executable, "-m", "awssandbox", "--handoff", str(path)]
    words += ["--handoff-lock", str(lock)]
    for name, value in wanted.items():
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execve(words[0], words, os.environ | {"AWSSANDBOX_CALLED": "runbook sandbox"})


def _tell(command: str, **fields: Any) -> str:
    """Sends the running sandbox a command; its answer as one JSON line."""
    from keyrunbook import sandboxes

    running = sandboxes.read(sandboxes.shared_path())
    if running is None:
        raise RunbookError("No sandbox is running.", "Start one with: runbook sandbox")
    answer = sandboxes.command(running, command, **fields)
    if "error" in answer:
        raise click.UsageError(f"{answer['error']}.")
    return json.dumps(answer)


def _seconds(duration: str) -> float:
    """`90s`, `15m`, `2h`, `3d`, `1h30m`, in seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", duration):
        raise click.BadParameter(
            f"{duration!r} is no duration: write 90s, 15m, 2h, 3d or 1h30m.",
            param_hint="--advance",
        )
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", duration)
    return sum(float(number) * units[unit] for number, unit in parts)


_OUTPUTS = click.option(
    "--outputs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the runs' folders are. Default: outputs/ of the project.",
)


@runbook.command(
    epilog="""\b
Exit status:
  0    listed, damaged ones included
  2    wrong usage"""
)
@_OUTPUTS
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def runs(outputs: Path | None, as_json: bool) -> None:
    """List the runs, the one last written first: when, where, how far, and how each ended.

    A run that says it is running while no such process lives was killed: it says so. A damaged
    ledger is named, with its line.
    """
    from keyrunbook.execution.runs import run_ids, summary

    folder = _outputs_dir(_load((), None, _given(outputs_dir=outputs))[0])
    found = [summary(folder, run_id) for run_id in run_ids(folder)]
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found], indent=2, ensure_ascii=False))
    elif not found:
        click.echo(f"There are no runs in {folder}.")
    else:
        from keyrunbook.execution.progress import print_runs

        print_runs(found, sys.stdout)


@runbook.command(
    epilog="""\b
Exit status:
  0    told
  1    the ledger is damaged, or does not hold the line of --head
  2    wrong usage, or no such run"""
)
@click.argument("run_id")
@_OUTPUTS
@click.option("--head", metavar="HASH", help="A head hash kept from earlier: it must be there.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(run_id: str, outputs: Path | None, head: str | None, as_json: bool) -> None:
    """Tell the story of a run, from its ledger.

    Who, where, on what; each change with why, how it is undone, AWS's request id and how it came
    out; findings, verdict, errors; what the run made and is left in AWS, by the ledger; and the
    ledger's head hash. Nothing is asked of AWS, nothing is written.
    """
    from keyrunbook.execution.result import stored_result
    from keyrunbook.execution.runs import existing, how_it_ended
    from keyrunbook.ledger import NAME, Ledger
    from keyrunbook.show import story

    parameters, _ = _load((), None, _given(run_id=run_id, outputs_dir=outputs))
    folder = existing(_outputs_dir(parameters), run_id)
    ledger = Ledger(folder / NAME)
    chain = ledger.chain()
    if head is not None:
        ledger.check_head(chain, head)
    opened = next((entry for entry in chain.entries if entry["kind"] == "opened"), None)
    ended = how_it_ended(folder, stored_result(folder))
    told = story.tell(chain.entries)
    things = story.left(told)
    if as_json:
        whole = {
            "run_id": run_id,
            "ended": ended,
            "story": [one.to_dict() for one in told],
            "left": [{"what": one.what, "state": one.state} for one in things],
            "lines": len(chain.entries),
            "head": chain.head,
            "torn_bytes": chain.torn_bytes,
            "worth": story.WORTH.replace("\n", " "),
        }
        click.echo(json.dumps(whole, indent=2, ensure_ascii=False))
        return
    tables = [
        story.heading(run_id, opened, ended),
        *story.chapters(told),
        *story.ending(things, "no target" if opened is None else story.on_what(opened), chain),
    ]
    click.echo("\n\n".join(table.text() for table in tables))


def _time(_: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise click.BadParameter(
            f"{text!r} is no time with a time zone, such as 2026-03-02T09:00:00Z.", param=option
        )
    return time


@runbook.command(
    epilog="""\b
Exit status:
  0    PROVED
  1    REFUTED, or log files are not as they were delivered
  2    wrong usage, or no such run, file or trail
  3    NOT_YET; with --require-integrity, integrity not proven
  5    AWS refused or could not be reached
  130  interrupted"""
)
@click.option("--run-id", metavar="ID", help="Prove the workflow and the key of this run.")
@click.option("--key", metavar="ARN", help="The key that it should be under.")
@click.option("--workflow", metavar="BUILD_ARN", help="The workflow build version to prove.")
@click.option(
    "--since",
    callback=_time,
    metavar="TIME",
    help="Look from this time on, with its zone (2026-03-02T09:00:00Z); a look-up, besides the "
    "times of calls that are known. Where GetWorkflow is not read and no record tells when the "
    "build was made, this is that time.",
)
@click.option("--until", callback=_time, metavar="TIME", help="Look until this time.")
@click.option(
    "--principal",
    "principals",
    multiple=True,
    metavar="ARN",
    help="Count only calls by this IAM role or user. May be repeated.",
)
@click.option(
    "--claim",
    "claimed",
    type=click.Choice(["both", "readable"]),
    default="both",
    help="readable: leave out that it was encrypted under the key, for workflows from before the "
    "source's reach.",
)
@click.option(
    "--source",
    default="lookup",
    metavar="SOURCE",
    help="lookup (the Event history, the default), s3://bucket/prefix that a trail delivers to, or "
    "a file, folder or glob of log files.",
)
@click.option(
    "--trail-keys",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Public keys for the log files' digests: what aws cloudtrail list-public-keys prints. "
    "Default: those that AWS lists, where it is asked.",
)
@click.option(
    "--require-integrity",
    is_flag=True,
    help="End with 3 unless digests prove that the log files are as delivered.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it as JUnit XML too: refuted is a failure, not known yet is skipped.",
)
@_OUTPUTS
@_PARAMETER_OPTIONS[5]
@_PARAMETER_OPTIONS[6]
@_PARAMETER_OPTIONS[7]
def prove(
    run_id: str | None,
    key: str | None,
    workflow: str | None,
    principals: tuple[str, ...],
    claimed: str,
    as_json: bool,
    junit: Path | None,
    outputs: Path | None,
    target: str | None,
    profile: str | None,
    region: str | None,
    **asked: Any,
) -> None:
    """Prove from CloudTrail that a workflow was encrypted under a key, whoever made it.

    Needs no run, and changes nothing: only reads can be sent. GetWorkflow is asked which key the
    workflow names; where it is refused, the clauses stay open, and it says so. A folder of log
    files, with --key and --workflow, is judged without AWS unless --target or --profile is given.

    Log files are also judged by the digests beside them: proven, not proven or refuted. Integrity
    is not completeness: that a record is absent proves nothing.

    \b
    Examples:
      runbook prove --run-id RUN_ID
      runbook prove --target aws --key KEY_ARN --workflow BUILD_ARN
      runbook prove --target aws --key KEY_ARN --workflow BUILD_ARN --source s3://trails
      runbook prove --key KEY_ARN --workflow BUILD_ARN --source AWSLogs --trail-keys keys.json
    """
    from keyrunbook.execution import proving

    given = _given(
        run_id=run_id, outputs_dir=outputs, target=target, profile=profile, region=region
    )
    parameters, _ = _load((), None, {**given, "read_only": True})
    question = proving.Question(
        key, workflow, principals=principals or None, only_readable=claimed == "readable", **asked
    )
    proof = proving.carry_out(question, parameters, _waiting)
    if junit is not None:
        proving.write_junit(proof, junit)
    if as_json:
        click.echo(json.dumps(proof.to_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(proof.text())
    raise click.exceptions.Exit(proof.exit_status)


def _waiting(waited: Waited) -> None:
    """Say once that it takes time."""
    if waited.probes == 1 and not waited.over:
        seconds = f"{waited.limit_s:.0f}"
        click.echo(f"Waiting for CloudTrail's records, at most {seconds} s.", err=True)


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given, as parameters."""
    return {name: str(value) for name, value in options.items() if value is not None}


def _direct(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and options of a command that acts on a run without notebooks."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print it all as JSON, at the end."),
        click.option(
            "--approve", metavar="DIGEST", help="Apply the plan of this digest. Needed on AWS."
        ),
        *reversed((*_PARAMETER_OPTIONS[:2], *_PARAMETER_OPTIONS[4:])),  # no --steps, no --run-id
        click.argument("run_id"),
    ):
        command = option(command)
    return command


DIRECT_STATUSES = """\b
Exit status:
  0    done, and verified by a read
  1    the answer is no: a finding failed
  2    wrong usage or parameters, or no such run
  3    not known: something could not be read
  4    waits for approval: the plan and its digest are printed, nothing was changed
  5    could not be done: AWS refused or could not be reached
  130  interrupted"""


@runbook.command(epilog=DIRECT_STATUSES)
@click.option("--by", type=click.Choice(["remove", "deny"]), help="As the parameter revoke_by.")
@_direct
def revoke(by: str | None, **options: Any) -> None:
    """Take the execution role's access to the run's key away.

    First an inventory: the workflows that become unreadable to builds, by name, and who can use the
    key by which path. Then the plan, the changes, and what the policies allow after them. No build
    is made: the refusal is decided, not observed; the notebook 05 observes it.

    --by remove takes away what the run gave, and grants of the role. A path that stays open is
    named. --by deny puts an explicit Deny for the role, and for workflows only, into the key
    policy: it closes every path and takes nothing away.

    \b
    Examples:
      runbook revoke RUN_ID
      runbook revoke RUN_ID --by deny
      runbook revoke RUN_ID --approve DIGEST
    """
    from keyrunbook.execution import direct

    _carry_out(direct.REVOKE, options, {} if by is None else {"revoke_by": by})


@runbook.command(epilog=DIRECT_STATUSES)
@_direct
def restore(**options: Any) -> None:
    """Give back what the run's revocation took, from the ledger.

    The key policy goes back byte for byte, and so do the role's policy and its grants; also after a
    revocation that died half-way. Where somebody changed the key policy meanwhile, the difference
    is shown, theirs stays, and only what the revocation changed is put right.
    """
    from keyrunbook.execution import direct

    _carry_out(direct.RESTORE, options, {})


@runbook.command("emergency-stop", epilog=DIRECT_STATUSES)
@click.option("--undo", is_flag=True, help="Enable the key again.")
@_direct
def emergency_stop(undo: bool, **options: Any) -> None:
    """Disable the run's key: nobody can use it, for anything, until it is enabled again.

    It breaks more than `runbook revoke`, and faster: the workflows that nobody can read then are
    listed by name. Nothing is lost; --undo enables the key. It needs kms:DisableKey and
    kms:EnableKey, which no step needs.
    """
    from keyrunbook.execution import direct

    _carry_out(direct.GO_ON if undo else direct.STOP, options, {})


def _carry_out(command: Command, options: dict[str, Any], more: dict[str, Any]) -> None:
    from keyrunbook.execution.direct import carry_out
    from keyrunbook.execution.runs import begun_with, existing

    pairs, file, as_json = (options.pop(name) for name in ("pairs", "file", "as_json"))
    given = _given(outputs_dir=options.pop("outputs"), **options) | more
    parameters, named = _load(pairs, file, given)
    outputs = _outputs_dir(parameters)
    kept = begun_with(existing(outputs, str(parameters.run_id)))
    if parameters.approve is not None:  # with the parameters that the plan was made with
        kept = _approved(parameters, outputs)["parameters"]
        _check_as_planned(parameters, named, kept)
    given = {**{name: value for name, value in kept.items() if name not in named}, **given}
    parameters, _ = _load(pairs, file, given)
    status, report = carry_out(command, parameters, click.echo if not as_json else _quiet)
    if as_json:
        whole = {**report, "exit_status": status}
        click.echo(json.dumps(whole, indent=2, ensure_ascii=False))
    raise click.exceptions.Exit(status)


def _quiet(_: str) -> None: ...


@runbook.command(
    epilog="""\b
Exit status:
  0    JupyterLab was closed
  2    wrong usage
  5    JupyterLab or the sandbox could not be started
  130  interrupted"""
)
@click.option("--port", type=click.IntRange(1, 65535), help="JupyterLab's port. Default: 8888 up.")
@click.option("--no-browser", is_flag=True, help="Print the address; open nothing.")
@click.option(
    "--outputs", type=click.Path(path_type=Path), metavar="DIR", help="Where runs' folders go."
)
def lab(port: int | None, no_browser: bool, outputs: Path | None) -> None:
    """Open the notebooks in JupyterLab, with a sandbox that lives as long as it does.

    Begin with 00_preflight.ipynb; each notebook names the next. Notebooks opened one after another
    share a run. JupyterLab serves this machine only.
    """
    from keyrunbook import sandboxes
    from keyrunbook.execution.lab import serve
    from keyrunbook.execution.runner import notebooks_dir
    from keyrunbook.parameters import OUTPUTS, Parameters

    folder = _outputs_dir(Parameters(outputs_dir=None if outputs is None else str(outputs)))
    environment = {OUTPUTS: str(folder)}
    if sandboxes.handed_over() is not None:
        raise click.exceptions.Exit(
            serve(notebooks_dir(), environment, port=port, browser=not no_browser)
        )
    with sandboxes.start_private() as own:
        own.ready()
        environment |= own.environment()
        status = serve(notebooks_dir(), environment, port=port, browser=not no_browser)
    raise click.exceptions.Exit(status)


@runbook.command(
    epilog="""\b
Exit status:
  0    printed
  2    wrong usage, parameters or input file"""
)
@click.option("--steps", metavar="STEPS", help="For which steps, as `runbook run` has it. All.")
@click.option(
    "-p",
    "pairs",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="Set a parameter, such as `-p key_arn ARN`: what is known narrows the policy.",
)
@click.option(
    "--parameters",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="Read parameters from a file, as `runbook run` does.",
)
@click.option("--account", metavar="ID", help="Account number. Default: that of execution_role.")
@click.option("--region", metavar="REGION", help="AWS Region. Default: AWS_DEFAULT_REGION.")
@click.option(
    "--partition",
    type=click.Choice(["aws", "aws-us-gov", "aws-cn"]),
    help="AWS partition. Default: the Region's.",
)
@click.option("--emergency", is_flag=True, help="Also what `runbook emergency-stop` needs.")
@click.option("--json", "as_json", is_flag=True, help="Print the policy, and nothing on stderr.")
def permissions(
    steps: str | None,
    pairs: tuple[tuple[str, str], ...],
    file: Path | None,
    account: str | None,
    region: str | None,
    partition: str | None,
    emergency: bool,
    as_json: bool,
) -> None:
    """Print the IAM policy that lets an operator do the steps on AWS, and no more.

    Asks nothing of AWS. Each statement's Sid names the step and what for. A key that the run makes
    is known by its tag: give run_id to narrow the policy to one run. What it allows beyond the run
    is said on stderr. With `-p target sandbox` it has what only runs there do, too: they make the
    execution role, and build.

    \b
    Examples:
      runbook permissions --account 111122223333 --region us-west-2 --steps 00..04
      runbook permissions --account 111122223333 --region us-west-2 --json > operator.json
    """
    from keyrunbook.execution.selection import parse_selection
    from keyrunbook.permissions import EMERGENCY, operator_policy, warnings
    from keyrunbook.steps import STEPS

    parameters, _ = _load(pairs, file, {} if region is None else {"region": region})
    chosen = STEPS if steps is None else parse_selection(steps, STEPS).steps
    names = (*chosen, EMERGENCY) if emergency else chosen
    policy = operator_policy(names, parameters, _where(parameters, account, partition))
    if not as_json:
        click.echo(
            f"# The operator's permissions for {', '.join(name[:2] for name in chosen)}: "
            "make it a managed policy of whoever runs them.",
            err=True,
        )
        for warning in warnings(chosen, parameters):
            click.echo(f"# {warning}", err=True)
    click.echo(json.dumps(policy, indent=2))


def _where(parameters: Parameters, account: str | None, partition: str | None) -> Where:
    """The place that a policy is for.

    Raises:
        ParameterError: account or Region is not known, or not one.
    """
    from keyrunbook.permissions import Where, partition_of

    region = parameters.region or os.environ.get("AWS_DEFAULT_REGION")
    if region is None:
        raise ParameterError("No AWS Region is set.", "Give one by --region (region).")
    if account is None and parameters.execution_role.startswith("arn:"):
        account = parameters.execution_role.split(":")[4]
    if account is None or not re.fullmatch(r"[0-9]{12}", account):
        raise ParameterError(
            "No account number is given." if account is None else f"--account {account!r} is none.",
            "Give 12 digits by --account; aws sts get-caller-identity shows yours.",
        )
    if partition not in (None, partition_of(region)):
        raise ParameterError(
            f"--partition {partition} has no Region {region}.",
            f"Leave --partition out: {region} is of {partition_of(region)}.",
        )
    return Where(partition_of(region), region, account)


def main() -> None:
    """The console command: gives each ending its exit status."""
    sys.exit(_main(sys.argv[1:]))


def _main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = runbook.main(arguments, prog_name="runbook", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except RunbookError as error:
        click.echo(f"Error: {error.what}\n  {error.fix}", err=True)
        return error.exit_status
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return COULD_NOT_BE_DONE
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has gone; Python would complain at exit when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COULD_NOT_BE_DONE
    except Exception:  # noqa: BLE001 - status 1, which Python would give, means "the answer is no"
        sys.excepthook(*sys.exc_info())
        click.echo("Error: this is a defect of the runbook, not of what you did.", err=True)
        return COULD_NOT_BE_DONE


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
