"""The operator's own answers that the policies leave open, put to KMS by dry runs.

Often nobody can read what decides: a session's policy, the organization's. KMS tells the caller
whether it would serve a call, and carries nothing out. That is asked directly, not through Image
Builder, which the answer says: a policy may tell the two apart. Only what is UNKNOWN is tried, and
each try is one call, which CloudTrail records as a dry run.
Source: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from iamaccess import Outcome

from keyrunbook.access import OPERATOR, Cell, Matrix, encryption_context
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


def settled(run: Run, matrix: Matrix, key_arn: str) -> Matrix:
    """The matrix with the operator's UNKNOWN answers as KMS gives them.

    A run that may only read tries nothing: for the AWS SDK a dry run is no read.
    """
    if run.parameters.read_only:
        return matrix
    cells = tuple(
        _tried(run, one, key_arn)
        if (one.principal, one.outcome) == (OPERATOR, Outcome.UNKNOWN) and one.action in _TRIES
        else one
        for one in matrix.cells
    )
    return replace(matrix, cells=cells)


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
