"""The operator's own answers that the policies leave open, put to KMS by dry runs.

Often nobody can read what decides: a session's policy, the organization's. KMS tells the caller
whether it would serve a call, and carries nothing out. That is asked directly, not through Image
Builder, which the answer says. Where the policies that were read may tell the two apart, it is not
asked: it would tell nothing. Only what is UNKNOWN is tried, and each try is one call, which
CloudTrail records as a dry run.
Source: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from iamaccess import Outcome

from keyrunbook.access import OPERATOR, Cell, Matrix, Operator, encryption_context, told_apart
from keyrunbook.aws import mutate
from keyrunbook.errors import AwsRefused
from keyrunbook.plan import Change

if TYPE_CHECKING:
    from keyrunbook.session import Run

_TRIES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "kms:Decrypt": ("decrypt", {"DryRunModifiers": ["IGNORE_CIPHERTEXT"]}),
    "kms:GenerateDataKey": ("generate_data_key", {"KeySpec": "AES_256"}),
}
"""How each action is tried: without a ciphertext KMS judges the permission alone.

Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html (DryRunModifiers)
"""
_REFUSED: Final = "AccessDeniedException"
_APART: Final = (
    "a dry run would tell nothing, as the policies tell a call by Image Builder from a direct one"
)


def settled(run: Run, matrix: Matrix, operator: Operator) -> Matrix:
    """The matrix with the operator's UNKNOWN answers as KMS gives them.

    A run that may only read tries nothing: for the AWS SDK a dry run is no read.
    """
    open_cells = [one for one in matrix.cells if _is_open(one)]
    if run.parameters.read_only or not open_cells:
        return matrix
    apart = told_apart(operator)

    def answer(cell: Cell) -> Cell:
        if not _is_open(cell):
            return cell
        if cell.action in apart:
            return replace(cell, why=f"{cell.why}; {_APART}")
        return _tried(run, cell, operator.key_arn)

    return replace(matrix, cells=tuple(map(answer, matrix.cells)))


def _is_open(cell: Cell) -> bool:
    mine = (cell.principal, cell.outcome) == (OPERATOR, Outcome.UNKNOWN)
    return mine and cell.action in _TRIES


def _tried(run: Run, cell: Cell, key_arn: str) -> Cell:
    operation, more = _TRIES[cell.action]
    context = encryption_context(key_arn)
    asked = {"KeyId": key_arn, "EncryptionContext": context, **more}
    change = Change("kms", operation, asked, "who may use the key", "nothing is carried out")
    answer = mutate.rehearse(run, change)
    by = f"a dry run of {cell.action}, asked by the operator directly"
    if answer.served:
        return _as(cell, Outcome.ALLOWED, f"KMS would serve it: {by}")
    if isinstance(answer.error, AwsRefused) and answer.error.code == _REFUSED:
        return _as(cell, Outcome.DENIED, f"KMS refuses it: {by} ({answer.error.what})")
    tried = "" if answer.error is None else f" ({answer.error.what})"
    return replace(cell, why=f"{cell.why}; {by}, told nothing{tried}")


def _as(cell: Cell, outcome: Outcome, why: str) -> Cell:
    return replace(cell, outcome=outcome, why=why, near=(), mend="", settles="")
