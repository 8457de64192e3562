"""`runbook access`: who may use a key, and why; policies checked before they are sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from keyrunbook.cli.common import PARAMETER_OPTIONS, given_options, load
from keyrunbook.errors import ParameterError


@click.group()
def access() -> None:
    """Who may use a key, and why.

    \b
    runbook access decide   decide requests, given as JSON with their policies
    runbook access lint     check a key policy, or the role's own policy
    runbook access matrix   who may do what with a key, by its policies and grants
    """


@access.command(
    epilog="""\b
Exit status:
  0    every request was answered
  1    --expect was not met
  2    wrong usage, or a line is no request
  5    nobody reads the answers
  130  interrupted"""
)
@click.option(
    "--complete",
    is_flag=True,
    help="What is not given, layer or condition key, does not exist. Without it, it is not known.",
)
@click.option(
    "--expect",
    type=click.Choice(["ALLOWED", "DENIED", "UNKNOWN"]),
    help="End with 1 unless each outcome is this one.",
)
def decide(complete: bool, expect: str | None) -> None:
    """Decide requests of JSON Lines on standard input, or one JSON object; one answer a line.

    The fields of a request, the first three needed:

    \b
      principal, action, resource       ARN (or service), kms:Decrypt, ARN (or *)
      context                           condition keys: {"kms:EncryptionContext:a": "b"}
      identity_policies                 a list of documents
      resource_policy                   the key policy; of sts:AssumeRole the trust policy
      permissions_boundary              a document; so is session_policy
      service_control_policies          a list of levels, each a list of documents; and
      resource_control_policies         likewise
      grants                            as `aws kms list-grants` prints them
      principal_tags                    {"team": "images"}
      role_arn                          a session's role, where it has a path
      absent                            condition keys that the request is known to lack

    Left out, or null, is not known; [] is known to be none. An answer has outcome (ALLOWED, DENIED,
    UNKNOWN), reason, layer, statement, unknown (what would have to be known) and explanation.

    \b
    Example:
      echo '{"principal": "ROLE_ARN", "action": "kms:Decrypt", "resource": "KEY_ARN",
             "resource_policy": {...}}' | runbook access decide --complete --expect ALLOWED
    """
    from keyrunbook.execution import deciding

    met = True
    for answer in deciding.answers(_standard_input(), complete=complete):
        sys.stdout.write(answer.to_json() + "\n")
        met = met and expect in (None, answer.outcome.value)
    sys.stdout.flush()
    raise click.exceptions.Exit(0 if met else 1)


def _standard_input() -> Any:
    """Standard input's lines, as UTF-8 whatever the locale."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ParameterError(
                f"line {number}: not UTF-8, at byte {error.start}.", "Write it as UTF-8."
            ) from None


@access.command(
    epilog="""\b
Exit status:
  0    no finding of level error
  1    a finding of level error (with --strict: of level warning too)
  2    wrong usage, or no such file"""
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--kind",
    type=click.Choice(["key", "role"]),
    help="A key policy or a role's own. Default: a key policy where a statement has a principal.",
)
@click.option("--key", "key_arn", metavar="ARN", help="The key that the policy is for.")
@click.option("--execution-role", metavar="ARN", help="The execution role's ARN.")
@click.option(
    "--administrator",
    "administrators",
    multiple=True,
    metavar="ARN",
    help="Who may administer the key, besides the account. May be repeated.",
)
@click.option("--strict", is_flag=True, help="End with 1 for a warning too.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def lint(
    files: tuple[str, ...],
    kind: str | None,
    key_arn: str | None,
    execution_role: str | None,
    administrators: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> None:
    """Check policies in files (- is standard input): what AWS refuses, lock-outs, slips.

    An error is what AWS refuses, what locks everybody out, or what surely does not do what it
    says; a warning is what is seldom meant; a note is what to know.

    \b
    Example:
      runbook access lint key-policy.json --key KEY_ARN --execution-role ROLE_ARN
    """
    from iamaccess.lint import Aim

    from keyrunbook.execution.linting import check, text, to_list

    aim = Aim(
        key_arn=key_arn, execution_role=execution_role, administrators=frozenset(administrators)
    )
    found = [(name, check(_read(name), kind, aim)) for name in files]
    if as_json:
        click.echo(json.dumps([one for name, of in found for one in to_list(name, of)], indent=2))
    else:
        for name, of in found:
            click.echo(text(name, of))
    bad = {"error", "warning"} if strict else {"error"}
    wrong = any(one.severity in bad for _, of in found for one in of)
    raise click.exceptions.Exit(1 if wrong else 0)


def _read(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return Path(name).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ParameterError(
            f"{name} cannot be read: {error.strerror}.", "Give a file that holds a policy."
        ) from None
    except UnicodeDecodeError as error:
        raise ParameterError(
            f"{name} is not UTF-8, at byte {error.start}.", "Write it as UTF-8."
        ) from None


@access.command(
    epilog="""\b
Exit status:
  0    decided
  2    wrong usage, or no such key or role
  3    something could not be read, and an outcome is UNKNOWN for it
  5    AWS refused or could not be reached"""
)
@click.option("--key", required=True, metavar="ARN", help="The key.")
@click.option("--role", metavar="NAME", help="The execution role. Default: the operator alone.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@PARAMETER_OPTIONS[5]
@PARAMETER_OPTIONS[6]
@PARAMETER_OPTIONS[7]
def matrix(
    key: str,
    role: str | None,
    as_json: bool,
    target: str | None,
    profile: str | None,
    region: str | None,
) -> None:
    """Tell who may do what with a key: decided from its policy and grants and from IAM's policies.

    Rows for you, by way of Image Builder, and for the execution role. It changes nothing: only
    reads are sent. Policies of an organization are not read, and it says so.

    \b
    Example:
      runbook access matrix --target aws --key KEY_ARN --role YourImageBuilderExecutionRole
    """
    from keyrunbook.execution import who_may

    given = given_options(target=target, profile=profile, region=region)
    parameters, _ = load((), None, {**given, "read_only": True})
    found = who_may.carry_out(parameters, key, role)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else found.text())
    raise click.exceptions.Exit(found.exit_status)
