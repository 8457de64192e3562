"""What a run asked, or should have, and got no answer to: each with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from iamaccess.explain import not_read

from keyrunbook.show.story import Told

Row = tuple[str, str, str]
_OPEN: Final = ("not checked", "not checkable")


def unknown(story: Sequence[Told]) -> list[Row]:
    """Each thing that stayed unknown: in which step, what, and why; the last word on each counts.

    What was asked twice and answered the second time is known. The account's scorecard, which the
    run does not rest on, comes last.
    """
    rows: dict[tuple[str, str], str | None] = {}
    for one in sorted(story, key=lambda one: one.kind == "scorecard"):
        for what, why in _asked(one):
            rows[one.step, what] = why
    return [(step, what, why) for (step, what), why in rows.items() if why is not None]


def _asked(one: Told) -> Iterable[tuple[str, str | None]]:
    """What a line tells of: why it is not known, or None where it is."""
    if one.kind == "change":
        code = one.fields.get("code", "the ledger holds no outcome")
        what = f"what became of {one.fields['call']} (line {one.fields['n']})"
        yield what, code if one.status == "not known" else None
    elif one.kind in _ASKED:
        yield from _ASKED[one.kind](one.fields)


def _findings(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for finding in fields["findings"]:
        is_open = finding["status"] in _OPEN
        why = f"{finding['status']}: {finding['evidence']}"
        yield finding["statement"], why if is_open else None


def _verdict(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for clause in fields.get("clauses", ()):
        is_open = clause["outcome"] == "NOT_YET"
        yield f"whether the workflow is {clause['name']}", clause["reason"] if is_open else None
    short = not fields.get("complete", True)
    yield "all that was searched for", "the source did not answer in full" if short else None


def _access(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    when = fields["when"]
    for principal, action, what, outcome, why, _ in fields["cells"]:
        asked = f"whether the {principal} may do {action} for {what} ({when})"
        yield asked, why if outcome == "UNKNOWN" else None
    unread = not_read(fields["not_read"])
    yield f"the layers of policy that were not read ({when})", unread or None


def _build(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    what = f"whether a build could read the workflow ({fields['when']})"
    yield what, fields["reason"] if fields["decrypted"] is None else None


def _listed(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for one in fields["not_known"]:
        yield one["what"], one["why"]


def _last_use(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    what = "whether KMS and the records say the same of the key's last use"
    yield what, fields["reason"] if fields["agreement"] == "not known" else None


def _alias(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    yield "the account's alias", fields["why"]


def _lock_out(fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    said = "; ".join(f"{name}: {value}" for name, value in fields.items() if name != "n")
    yield "whether a key policy would have locked its operator out", said


_ASKED: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, str | None]]]]] = {
    "findings": _findings,
    "scorecard": _findings,
    "verdict": _verdict,
    "access": _access,
    "build": _build,
    "inventory": _listed,
    "in_use": _listed,
    "last_use": _last_use,
    "account_alias": _alias,
    "lock_out_check": _lock_out,
}
