"""Errors in a notebook: one message, no traceback; the cell still fails, and the ledger knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws.refusals import explain
from keyrunbook.errors import RunbookError

if TYPE_CHECKING:
    from keyrunbook.session import Run


def show_errors_as_messages() -> Callable[[Run], None]:
    """From now on, this notebook's expected errors show as a message.

    Gives a function that is told the run once it is open: errors then also go into its ledger.
    Outside of IPython nothing changes.
    """
    opened: list[Run] = []
    shell = _shell()
    if shell is not None:
        shell.set_custom_exc(
            (RunbookError, ClientError, BotoCoreError),
            lambda shell, kind, error, trace, tb_offset=None: _show(shell, error, opened),
        )
    return opened.append


def show_what_aws_said() -> None:
    """From now on, a refusal shows in AWS's own words, in one line and without advice.

    For who is to find out alone what to do. Outside of IPython nothing changes.
    """
    shell = _shell()
    if shell is not None:
        shell.set_custom_exc(
            (ClientError,),
            lambda shell, kind, error, trace, tb_offset=None: shell._showtraceback(
                kind, error, [str(error)]
            ),
        )


def _shell() -> Any:
    """The running IPython shell, or None (also where IPython is not installed)."""
    import sys

    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _show(shell: Any, error: BaseException, opened: list[Run]) -> None:
    told = error if isinstance(error, RunbookError) else explain(error)
    for run in opened:
        run.record("error", **told.to_dict())
    shell._showtraceback(type(told), told, told._render_traceback_())
