"""A plan is data: the calls that a step would make, why, and how each is undone.

Making the plan changes nothing; `keyrunbook.aws.mutate` is the one place that carries it out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyrunbook.policies import plain
from keyrunbook.prices import price_of

POLICIES: Final = ("Policy", "PolicyDocument", "AssumeRolePolicyDocument", "policy")
"""The parameters of a call that hold a policy as text; ``policy`` is what was there before."""
DOCUMENTS: Final = ("data",)
"""The parameters that are a document of somebody's own: sent as they are, kept by their digest.

A ``${…}`` in a workflow document is its author's, not a symbol of a plan.
"""
TOKENS: Final = ("clientToken",)
"""The parameters that make a repeated call the same call; they say nothing of what it does."""

SYMBOL = re.compile(r"\$\{([a-z_]+\.[a-z_]+)\}")
"""A value that an earlier change of the run will give: ``${create_key.key_arn}``."""


def symbol(step: str, name: str) -> str:
    """The symbol of a value that AWS is still to give, to a step such as ``01_create_key``."""
    return f"${{{step.split('_', 1)[1]}.{name}}}"


@dataclass(frozen=True, slots=True)
class Change:
    """One mutation of AWS: a boto3 client's `service` and `operation` (snake case), `parameters`.

    `why` and `undo` are sentences for a person. `gives` maps names of the ledger to the places
    (dotted paths in the response) where the call answers them.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]
    why: str
    undo: str
    gives: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, Any] = field(default_factory=dict)
    """What the ledger keeps beside the intent: what was there before the change."""

    @property
    def call(self) -> str:
        """The call as AWS names it: ``kms:CreateKey``."""
        return f"{self.service}:{''.join(p.title() for p in self.operation.split('_'))}"

    @property
    def cost(self) -> str:
        """What it costs on AWS, in words."""
        return str(price_of(self.call))

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON has it, for a person and for the ledger."""
        return {
            "call": self.call,
            "parameters": shown(self.parameters),
            "why": self.why,
            "cost": self.cost,
            "undo": self.undo,
            "before": dict(self.keep),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that a step would make, in order. An empty plan: it is already so."""

    step: str
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    """What a person must know beside the changes, such as what stays and why: whole sentences."""

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import plan_table

        return plan_table(self).mimebundle()

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON has it."""
        changes = [change.to_dict() for change in self.changes]
        notes = {"notes": list(self.notes)} if self.notes else {}
        return {"step": self.step, "changes": changes, **notes}


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The plans of some steps of one run, to be approved together.

    A later plan builds on what the earlier ones will have changed; values that AWS is still to
    give are symbols in it. `chosen` are the steps that it was made for, those that change nothing
    included, and `parameters` the ones that were given: it is applied as it was made. `ended` is
    how often its steps had come to their end before: a plan made again is another plan.
    """

    run_id: str
    partition: str
    region: str
    account: str
    plans: tuple[Plan, ...]
    chosen: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    ended: int = 0

    def __iter__(self) -> Iterator[Change]:
        return (change for plan in self.plans for change in plan)

    def __len__(self) -> int:
        return sum(map(len, self.plans))

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON has it, without its digest."""
        return {
            "run_id": self.run_id,
            "partition": self.partition,
            "region": self.region,
            "account": self.account,
            "chosen": list(self.chosen),
            "parameters": dict(self.parameters),
            "ended": self.ended,
            "steps": [plan.to_dict() for plan in self.plans],
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import run_plan_table

        return run_plan_table(self).mimebundle()


@dataclass(frozen=True, slots=True)
class Applied:
    """The changes of a plan that AWS has made, and what each answered by its `gives`."""

    step: str
    made: tuple[tuple[Change, Mapping[str, Any]], ...] = ()
    notes: tuple[str, ...] = ()
    """Those of the plan, where it was not shown before."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import applied_table

        return applied_table(self).mimebundle()


def fill(value: Any, known: Mapping[str, Any], *, partly: bool = False) -> Any:
    """`value` with every symbol replaced by what `known` says of it.

    Raises KeyError, naming the symbol, when it is not known; `partly` leaves such a one as it is.
    """
    if isinstance(value, str):
        if partly:
            return SYMBOL.sub(lambda match: str(known.get(match[1], match[0])), value)
        return SYMBOL.sub(lambda match: str(known[match[1]]), value)
    if isinstance(value, Mapping):
        return {name: fill(item, known, partly=partly) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, known, partly=partly) for item in value]
    return value


def shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a call as a plan and the ledger hold them.

    Policies are as they were given; a document is its SHA-256 and its length; tokens are left out.
    """
    return {
        name: _digest_of(value) if name in DOCUMENTS else value
        for name, value in parameters.items()
        if name not in TOKENS
    }


def _digest_of(document: str) -> dict[str, Any]:
    return {
        "sha256": hashlib.sha256(document.encode()).hexdigest(),
        "characters": len(document),
    }


def canonical(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a call, or what was there before it, in one form for all that say the same.

    Only what AWS takes for a policy is parsed and put in order; everything else stays as it is.
    """
    return {
        name: plain(json.loads(value) if isinstance(value, str) else value)
        if name in POLICIES and value is not None
        else value
        for name, value in given.items()
    }


def digest(plan: Mapping[str, Any]) -> str:
    """The SHA-256 of a plan's canonical JSON, in hexadecimal; `plan` as `RunPlan.to_dict` has it.

    Times, tokens, request ids and notes are not part of it, so the same plan has the same digest.
    """
    steps = [
        {
            **{name: value for name, value in step.items() if name != "notes"},
            "changes": [
                {
                    **change,
                    "parameters": canonical(change["parameters"]),
                    "before": canonical(change["before"]),
                }
                for change in step["changes"]
            ],
        }
        for step in plan["steps"]
    ]
    content = {**plan, "steps": steps}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
