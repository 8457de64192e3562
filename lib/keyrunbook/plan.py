"""A plan is data: the calls that a step would make, why, and how each is undone.

Making the plan changes nothing; `keyrunbook.aws.mutate` is the one place that carries it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SYMBOL = re.compile(r"\$\{([a-z_]+\.[a-z_]+)\}")
"""A value that an earlier change of the run will give: ``${create_key.key_arn}``."""


@dataclass(frozen=True, slots=True)
class Change:
    """One mutation of AWS: a boto3 client's `service` and `operation` (snake case), `parameters`.

    `why` and `undo` are sentences for a person. `gives` maps names of the ledger to the places
    (dotted paths in the response) where the call answers them. `cost` is in words, with its unit.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]
    why: str
    undo: str
    gives: Mapping[str, str] = field(default_factory=dict)
    cost: str = "none"
    keep: Mapping[str, Any] = field(default_factory=dict)
    """What the ledger keeps beside the intent: what was there before the change."""

    @property
    def call(self) -> str:
        """The call as AWS names it: ``kms:CreateKey``."""
        return f"{self.service}:{''.join(p.title() for p in self.operation.split('_'))}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that a step would make, in order. An empty plan: it is already so."""

    step: str
    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import plan_table

        return plan_table(self).mimebundle()


@dataclass(frozen=True, slots=True)
class Applied:
    """The changes of a plan that AWS has made, and what each answered by its `gives`."""

    step: str
    made: tuple[tuple[Change, Mapping[str, Any]], ...] = ()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import applied_table

        return applied_table(self).mimebundle()


def fill(value: Any, known: Mapping[str, Any]) -> Any:
    """`value` with every symbol replaced by what `known` says of it.

    Raises KeyError, naming the symbol, when it is not known.
    """
    if isinstance(value, str):
        return SYMBOL.sub(lambda match: str(known[match[1]]), value)
    if isinstance(value, Mapping):
        return {name: fill(item, known) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, known) for item in value]
    return value
