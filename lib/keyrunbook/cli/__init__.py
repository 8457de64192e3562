"""The `runbook` command.

Every import that takes time is made where it is needed, so that `runbook --help` is quick. Errors
that a person can do something about are `RunbookError`s: one sentence, what to do, no traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from keyrunbook.cli.access import access
from keyrunbook.cli.athena import athena_ddl
from keyrunbook.cli.common import COULD_NOT_BE_DONE, EXIT_STATUSES, INTERRUPTED
from keyrunbook.cli.directly import emergency_stop, restore, revoke
from keyrunbook.cli.lab import lab
from keyrunbook.cli.permissions import permissions
from keyrunbook.cli.preflight import preflight
from keyrunbook.cli.proving import prove
from keyrunbook.cli.report import report
from keyrunbook.cli.running import plan, resume, run
from keyrunbook.cli.sandbox import sandbox
from keyrunbook.cli.telling import runs, show
from keyrunbook.cli.using import usage
from keyrunbook.errors import RunbookError

if TYPE_CHECKING:
    from types import FrameType


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
    runbook report         the same as one HTML file, for whoever was not there
    runbook preflight      the account, by AWS's recommendations on data protection
    runbook prove          prove it for a workflow that is there, whoever made it
    runbook athena-ddl     the table by which Athena is a source of that proof
    runbook usage          who used the key, for what, how often, who was refused
    runbook access         who may use a key, and why; check a policy before it is sent
    runbook revoke         take the role's access away; `runbook restore` gives it back
    runbook emergency-stop disable the key; --undo enables it
    runbook sandbox        the sandbox alone, for any AWS client
    runbook permissions    the least that an operator must be allowed, as an IAM policy
    """


for _command in (
    run,
    plan,
    resume,
    lab,
    runs,
    show,
    report,
    preflight,
    prove,
    athena_ddl,
    usage,
    access,
    revoke,
    restore,
    emergency_stop,
    sandbox,
    permissions,
):
    runbook.add_command(_command)


def main() -> None:
    """The console command: gives each ending its exit status."""
    sys.exit(_main(sys.argv[1:]))


def _main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, _terminated)
    stdout = sys.stdout
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
        return _nobody_reads()
    except SystemExit:
        if sys.stdout is stdout:
            raise
        # A broken pipe: click wraps stdout then, and ends with 1, which means "the answer is no".
        return _nobody_reads()
    except Exception:  # noqa: BLE001 - status 1, which Python would give, means "the answer is no"
        sys.excepthook(*sys.exc_info())
        click.echo("Error: this is a defect of the runbook, not of what you did.", err=True)
        return COULD_NOT_BE_DONE


def _nobody_reads() -> int:
    """Whoever read stdout has gone; Python would complain at exit when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
    return COULD_NOT_BE_DONE


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
