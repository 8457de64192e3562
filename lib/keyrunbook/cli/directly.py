"""Commands that act on a run without notebooks: revoke, restore and emergency-stop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from keyrunbook.cli.common import (
    PARAMETER_OPTIONS,
    approved_plan,
    check_as_planned,
    given_options,
    load,
    load_with_kept,
    outputs_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from keyrunbook.execution.direct import Command

DIRECT_STATUSES = """\b
Exit status:
  0    done, and verified by a read
  1    the answer is no: a finding failed
  2    wrong usage or parameters, or no such run
  3    not known: something could not be read
  4    waits for approval: the plan and its digest are printed, nothing was changed
  5    could not be done: AWS refused or could not be reached
  130  interrupted"""


def _direct(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and options of a command that acts on a run without notebooks."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print it all as JSON, at the end."),
        click.option(
            "--approve", metavar="DIGEST", help="Apply the plan of this digest. Needed on AWS."
        ),
        *reversed((*PARAMETER_OPTIONS[:2], *PARAMETER_OPTIONS[4:])),  # no --steps, no --run-id
        click.argument("run_id"),
    ):
        command = option(command)
    return command


@click.command(epilog=DIRECT_STATUSES)
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


@click.command(epilog=DIRECT_STATUSES)
@_direct
def restore(**options: Any) -> None:
    """Give back what the run's revocation took, from the ledger.

    The key policy goes back byte for byte, and so do the role's policy and its grants; also after a
    revocation that died half-way. Where somebody changed the key policy meanwhile, the difference
    is shown, theirs stays, and only what the revocation changed is put right.
    """
    from keyrunbook.execution import direct

    _carry_out(direct.RESTORE, options, {})


@click.command("emergency-stop", epilog=DIRECT_STATUSES)
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
    given = given_options(outputs_dir=options.pop("outputs"), **options) | more
    parameters, named = load(pairs, file, given)
    outputs = outputs_folder(parameters)
    kept = begun_with(existing(outputs, str(parameters.run_id)))
    if parameters.approve is not None:  # with the parameters that the plan was made with
        kept = approved_plan(parameters, outputs)["parameters"]
        check_as_planned(parameters, named, kept)
    parameters, _ = load_with_kept(pairs, file, given, named, kept)
    status, report = carry_out(command, parameters, click.echo if not as_json else _quiet)
    if as_json:
        whole = {**report, "exit_status": status}
        click.echo(json.dumps(whole, indent=2, ensure_ascii=False))
    raise click.exceptions.Exit(status)


def _quiet(_: str) -> None: ...
