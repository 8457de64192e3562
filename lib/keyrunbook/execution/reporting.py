"""`runbook report`: reads what a run left on disk, and writes its report. Nothing else is touched.

The file that is written is there whole or not at all, and one that is no report is never replaced.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from keyrunbook.errors import LedgerDamaged, ParameterError, RunbookError
from keyrunbook.execution.result import RESULT_FILE, stored_result
from keyrunbook.execution.runs import existing, how_it_ended
from keyrunbook.files import write_atomically
from keyrunbook.ledger import NAME, Ledger
from keyrunbook.records import MalformedRecord
from keyrunbook.report.content import File, OnDisk, report
from keyrunbook.report.page import BEGINNING, html
from keyrunbook.steps import standing

REPORT_FILE: Final = "report.html"
"""The report's name in the run's folder, unless another file is given."""


def carry_out(outputs: Path, run_id: str, output: Path | None, head: str | None) -> Path:
    """Write the report of a run to `output`, or into the run's folder; gives where it is.

    `head` is a hash that was kept from earlier.

    Raises:
        LedgerDamaged: the ledger is not as it was written, or has no line with the hash `head`.
        ParameterError: no such run, a damaged ``result.json``, or `output` is there and no report.
        RunbookError: `output` cannot be written.
    """
    folder = existing(outputs, run_id)
    path = output or folder / REPORT_FILE
    _check_is_ours(path)
    page = _page(folder, head)
    try:
        write_atomically(path, page)
    except OSError as error:
        raise RunbookError(
            f"{path} cannot be written: {error.strerror}.", "Give another file by --output."
        ) from error
    return path


def _page(folder: Path, head: str | None) -> str:
    ledger = Ledger(folder / NAME)
    chain = ledger.chain()
    if head is not None:
        ledger.check_head(chain, head)
    result = stored_result(folder)
    stands = standing.told(chain.entries, folder.name, None)
    ended = how_it_ended(folder, result)
    try:
        return html(report(OnDisk(folder.name, chain, result, ended, stands, _files(folder))))
    except MalformedRecord as error:
        raise LedgerDamaged(
            f"{ledger.path} holds a record that is not one of CloudTrail's: {error}.",
            "Compare it with a copy.",
        ) from error


def _files(folder: Path) -> tuple[File, ...]:
    """The ledger, the result and the executed notebooks: those that are there."""
    names = [NAME, RESULT_FILE, *sorted(path.name for path in folder.glob("*.ipynb"))]
    contents = ((name, (folder / name).read_bytes()) for name in names if (folder / name).is_file())
    return tuple(
        File(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in contents
    )


def _check_is_ours(path: Path) -> None:
    """Raise ParameterError where there is something that is no report of ours."""
    if not path.exists():
        return
    begins = BEGINNING.encode()
    if path.is_file():
        try:
            with path.open("rb") as file:
                if file.read(len(begins)) == begins:
                    return
        except OSError as error:
            raise RunbookError(
                f"{path} is there and cannot be read: {error.strerror}.",
                "Give another file by --output.",
            ) from error
    raise ParameterError(
        f"{path} is there, and is no report that `runbook report` has made: it stays as it is.",
        "Give another file by --output, or move it away.",
    )
