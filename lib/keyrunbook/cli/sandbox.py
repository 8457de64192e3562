"""`runbook sandbox`: the small AWS by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import Any

import click

from keyrunbook.errors import RunbookError


@click.command(
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
@click.option(
    "--state",
    type=click.Path(file_okay=False, resolve_path=True),
    metavar="DIR",
    help="Keep its state in this folder, and go on with what is there: also after it was killed.",
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
    AWS: nothing is built, nothing costs anything, and nothing is kept after its end but in the
    folder of --state, which is for you alone and for the versions that wrote it.

    When ready it prints one JSON line: endpoint_url, region, account, access_key_id,
    secret_access_key, ca_bundle. The credentials are those of an administrator, not of root, and
    worth nothing elsewhere. There is one for each user of the machine; notebooks find it.

    \b
    Examples:
      runbook sandbox --port 4566
      runbook sandbox --state ~/sandbox
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
