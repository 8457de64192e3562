"""The `runbook` command.

Every import that takes time is made where it is needed, so that `runbook --help` is quick. Errors
that a person can do something about are `RunbookError`s: one sentence, what to do, no traceback.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from keyrunbook.errors import ParameterError, RunbookError

if TYPE_CHECKING:
    from keyrunbook.execution.given import FromFile
    from keyrunbook.parameters import Parameters

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
    runbook lab            the same notebooks, to read and run by hand
    runbook sandbox        the sandbox alone, for any AWS client
    """


@runbook.command(epilog=EXIT_STATUSES)
@click.option(
    "-p",
    "pairs",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="Set a parameter of the notebooks, such as `-p key_alias alias/mine`. Text stays text: "
    "`-p run_id 012` is 012. May be repeated; `runbook run --list-parameters` names them all.",
)
@click.option(
    "--parameters",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="Read parameters from a file, one `name: value` on a line. -p and the options win over it.",
)
@click.option(
    "--steps",
    metavar="STEPS",
    help="Which steps: a range (00..04), a list (00,02) or one (03). Default: all seven on the "
    "sandbox, 00..04 on AWS, because 05 and 06 undo what the run was for. After a verdict other "
    "than PROVED, 05 and 06 run only when they are named here.",
)
@click.option(
    "--run-id",
    metavar="ID",
    help="The run to begin or to go on with. Default: a new run when the steps begin with 00 or "
    "01, else the newest unfinished one in the outputs folder.",
)
@click.option(
    "--outputs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the run's folder goes. Default: outputs/ of the project.",
)
@click.option(
    "--target",
    type=click.Choice(["sandbox", "aws"]),
    help="Where the steps act. Default: sandbox, one that this run starts and ends.",
)
@click.option("--profile", metavar="NAME", help="AWS profile to use, with --target aws.")
@click.option("--region", metavar="REGION", help="AWS Region to work in.")
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

    \b
    Examples:
      runbook run
      runbook run --steps 00..04 -p key_alias alias/images -p tags '{team: images}'
      runbook run --target aws --profile images --region eu-central-1 --steps 00
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
    from keyrunbook.execution.progress import progress_to
    from keyrunbook.execution.runner import Order, run
    from keyrunbook.execution.selection import default_selection, parse_selection
    from keyrunbook.ledger import Ledger
    from keyrunbook.steps import STEPS

    parameters, given = _load(pairs, file, options)
    target = parameters.target
    selection = default_selection(target, STEPS) if steps is None else parse_selection(steps, STEPS)
    outputs = _outputs_dir(parameters)
    order = Order(
        run_id=_run_id(parameters, outputs, selection.steps[0]),
        target=target,
        outputs_dir=outputs,
        selection=selection,
        all_steps=STEPS,
        parameters={
            name: value
            for name, value in parameters.model_dump(mode="json").items()
            if name in given
        },
        cell_limit_s=_cell_limit_s(parameters),
    )
    progress = progress_to(sys.stderr if as_json else sys.stdout)
    result = run(order, progress, sandbox=_sandbox_for(order), journal=Ledger)
    if as_json:
        click.echo(result.to_json(), nl=False)
    return COULD_NOT_BE_DONE if result.exit_status is None else result.exit_status
