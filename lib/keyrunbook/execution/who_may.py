"""What `runbook access matrix` does: who may do what with a key, as its target has it now.

No run is opened and nothing is written: clients that can only read are asked for the key's policy
and grants, and for the policies of the operator and of the execution role.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError
from iamaccess import Outcome

from keyrunbook import access
from keyrunbook.aws import who
from keyrunbook.aws.refusals import code_of
from keyrunbook.errors import ParameterError
from keyrunbook.parameters import Parameters
from keyrunbook.session import reach
from keyrunbook.show.tables import matrix_table
from keyrunbook.steps.events import whose

UNKNOWN: Final = 3
"""Exit status, as every command has it."""


@dataclass(frozen=True, slots=True)
class WhoMay:
    """The matrix of one key, and where it was read: `where` is empty for AWS itself."""

    key_arn: str
    matrix: access.Matrix
    where: str

    @property
    def exit_status(self) -> int:
        """3 where an outcome is not known."""
        unknown = any(cell.outcome is Outcome.UNKNOWN for cell in self.matrix.cells)
        return UNKNOWN if unknown else 0

    def text(self) -> str:
        """The matrix for a person."""
        where = f"Read from: {self.where}.\n" if self.where else ""
        return f"{self.key_arn}\n{where}\n{matrix_table(self.matrix).mimebundle()['text/plain']}"

    def to_dict(self) -> dict[str, Any]:
        """The matrix for a program."""
        return {
            "key_arn": self.key_arn,
            "read_from": self.where or "AWS",
            "cells": [
                {
                    "principal": cell.principal,
                    "action": cell.action,
                    "what": cell.what,
                    "wanted": cell.wanted,
                    "outcome": cell.outcome.value,
                    "explanation": cell.why,
                    "near": list(cell.near),
                    "mend": cell.mend,
                    "settles": cell.settles,
                }
                for cell in self.matrix.cells
            ],
            "not_read": list(self.matrix.not_read),
            "refused": list(self.matrix.refused),
            "malformed": list(self.matrix.malformed),
            "exit_status": self.exit_status,
        }


def carry_out(parameters: Parameters, key_arn: str, role: str | None) -> WhoMay:
    """Decide for the operator, and for the role where one is named (by name or ARN).

    Raises:
        ParameterError: `key_arn` is no key's, or of another account or Region, or is not there; or
            there is no such role.
        AwsRefused, Unreachable, CredentialsMissing, SandboxGone: as the clients do.
    """
    fields = key_arn.split(":", 5)
    if len(fields) < 6 or fields[2] != "kms" or not fields[5].startswith("key/"):
        raise ParameterError(
            f"--key: {key_arn!r} is not the ARN of a KMS key.",
            "Give the ARN of the key itself (arn:…:key/…), not of an alias.",
        )
    region = parameters.region or fields[3]
    _, clients = reach(parameters.model_copy(update={"region": region}))
    here = clients.region, clients.identity.account
    if here != (fields[3], fields[4]):
        raise ParameterError(
            f"The key is of {fields[4]} in {fields[3]}, and {here[1]} in {here[0]} is asked.",
            "Give a --profile of the key's account, and leave --region out.",
        )
    try:
        side = who.key_side(clients, key_arn)
    except ClientError as error:
        if code_of(error) != "NotFoundException":
            raise
        raise ParameterError(f"There is no key {key_arn}.", "Look at its ARN.") from None
    name = None if role is None else role.rsplit("/", 1)[-1]
    read = None if name is None else who.read(clients, side, name)
    if name is not None and read is None:
        raise ParameterError(f"There is no role {name!r}.", "Give a role of the key's account.")
    matrix = access.decided(read, who.operator(clients, side))
    return WhoMay(key_arn, matrix, whose(clients))
