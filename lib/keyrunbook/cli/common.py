"""What the commands share: options, and parameters read, checked and merged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keyrunbook.errors import ParameterError, RunbookError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from keyrunbook.execution.given import FromFile
    from keyrunbook.parameters import Parameters, Target

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

PARAMETER_OPTIONS = (
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


OUTPUTS = click.option(
    "--outputs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the runs' folders are. Default: outputs/ of the project.",
)


def parameter_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which run it is, where, and with which parameters."""
    for option in reversed(PARAMETER_OPTIONS):
        command = option(command)
    return command


def time_with_zone(_: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    """A time that an option gives. Raises click.BadParameter for one without a zone."""
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


def write_picture(path: Path, png: bytes, option: str) -> None:
    """Write a picture to where an option says. Raises RunbookError where that cannot be."""
    try:
        path.write_bytes(png)
    except OSError as error:
        raise RunbookError(
            f"{path} cannot be written: {error.strerror}.", f"Give another file by {option}."
        ) from error


def given_options(**options: Any) -> dict[str, Any]:
    """The options that were given, as parameters."""
    return {name: str(value) for name, value in options.items() if value is not None}


def load(
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


def load_with_kept(
    pairs: tuple[tuple[str, str], ...],
    file: Path | None,
    options: Mapping[str, Any],
    given: Iterable[str],
    kept: Mapping[str, Any],
) -> tuple[Parameters, set[str]]:
    """The same with what is `kept` of a run, or of its plan, for what was not `given` now."""
    named = set(given)
    return load(
        pairs, file, {**{name: v for name, v in kept.items() if name not in named}, **options}
    )


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


def outputs_folder(parameters: Parameters) -> Path:
    """Where the runs' folders are, absolute."""
    from keyrunbook.parameters import outputs_dir

    return outputs_dir(parameters)


def run_to_use(parameters: Parameters, outputs: Path, first_step: str) -> str:
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


def approved_plan(parameters: Parameters, outputs: Path) -> Mapping[str, Any]:
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


def check_as_planned(
    parameters: Parameters, given: Iterable[str], planned: Mapping[str, Any]
) -> None:
    """Refuse a parameter that is another than the approved plan was made with.

    Raises:
        ParameterError: naming it, and both values.
    """
    from keyrunbook.parameters import OF_ONE_CALL, Parameters

    then, now = Parameters.load(planned).model_dump(), parameters.model_dump()
    for name in sorted(set(given) - OF_ONE_CALL - {"profile"}):
        if now[name] != then[name]:
            raise ParameterError(
                f"{name} = {now[name]!r}, but the plan was made with {then[name]!r}.",
                "Leave it out: a plan is applied with its own parameters. Or plan again.",
            )


def check(
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


def check_used(
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
