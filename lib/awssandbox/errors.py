"""The one exception by which the sandbox refuses: an AWS error code, text and HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class AwsError(Exception):
    """An answer that AWS documents for a call that it refuses.

    `code` is the error code that a client sees (``e.response["Error"]["Code"]``), `message` AWS's
    text, `status` the HTTP status, `fields` further members of a modelled error shape.
    `record_code` is what CloudTrail records where that differs (``AccessDenied``).
    """

    code: str
    message: str
    status: int = 400
    fields: Mapping[str, Any] = field(default_factory=dict)
    record_code: str | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def not_imitated(what: str) -> AwsError:
    """The refusal of a behaviour that AWS has and the sandbox does not imitate.

    Never a silent success: the text names what is missing.
    """
    return AwsError("NotImplemented", f"The sandbox does not imitate {what}.", 501)
