"""The story of a run, from the lines of its ledger alone: nothing is asked of AWS.

So what it calls left in AWS is what the ledger says, not what somebody did since by other means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyrunbook.ledger import DONE, NOT_MADE, REFUSED, UNKNOWN, Chain
from keyrunbook.show.tables import SIGNS, Table

Entry = Mapping[str, Any]

WORTH = (
    "The chain shows accident and carelessness, not a forger who owns the folder, nor lines\n"
    "missing from its end: keep the head hash elsewhere, and give it back by --head."
)
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)\+00:00$")
COLUMNS = ("what", "at", "by", "why", "undo", "outcome", "AWS gave", "because", "mend")

_GRANT = "grant taken from KMS key"
_MAKES = {
    "kms:CreateKey": ("KMS key", "key_arn"),
    "kms:CreateAlias": ("alias", "AliasName"),
    "kms:EnableKeyRotation": ("rotation of KMS key", "KeyId"),
    "kms:PutKeyPolicy": ("changed policy of KMS key", "KeyId"),
    "iam:CreateRole": ("role", "RoleName"),
    "iam:PutRolePolicy": ("policy of role", "RoleName"),
    "imagebuilder:CreateWorkflow": ("workflow", "workflow_arn"),
    "imagebuilder:CreateImage": ("image", "image_arn"),
    "kms:DisableKey": ("emergency stop of KMS key", "KeyId"),
    "kms:RevokeGrant": (_GRANT, "KeyId"),
}
"""What a call makes, and the parameter or answer that names it."""
_REMOVES = {
    "kms:ScheduleKeyDeletion": ("KMS key", "KeyId"),
    "kms:DeleteAlias": ("alias", "AliasName"),
    "kms:DisableKeyRotation": ("rotation of KMS key", "KeyId"),
    "iam:DeleteRole": ("role", "RoleName"),
    "iam:DeleteRolePolicy": ("policy of role", "RoleName"),
    "imagebuilder:DeleteWorkflow": ("workflow", "workflowBuildVersionArn"),
    "imagebuilder:DeleteImage": ("image", "imageBuildVersionArn"),
    "kms:EnableKey": ("emergency stop of KMS key", "KeyId"),
    "kms:CreateGrant": (_GRANT, "KeyId"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that happened: a line of the ledger, or two, the intent and its outcome.

    `status` of a change is ``done``, ``refused``, ``not made``, or ``not known``: no answer, or
    nobody was left to write it down.
    """

    kind: str
    step: str
    time: str
    fields: Mapping[str, Any]
    status: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As `runbook show --json` has it."""
        status = {"status": self.status} if self.status else {}
        return {"kind": self.kind, "step": self.step, "time": self.time, **status, **self.fields}


@dataclass(frozen=True, slots=True)
class Left:
    """Something that the run made: `what` and its name, and how it stands by the ledger."""

    what: str
    state: str


def tell(entries: Iterable[Entry]) -> list[Told]:
    """What happened, in order; each intent joined with its outcome, the last where it has two."""
    told: list[Told] = []
    places: dict[int, int] = {}
    newest = 0
    for entry in entries:
        at = places.get(entry.get("intent", newest)) if entry["kind"] == "outcome" else None
        if at is not None and told[at].fields["call"] == entry["call"]:
            told[at] = _joined(told[at], entry)
            continue
        fields = {k: v for k, v in entry.items() if k not in ("kind", "step", "time", "hash")}
        change = entry["kind"] == "intent"
        if change:
            newest = entry["n"]
            places[newest] = len(told)
        told.append(
            Told(
                "change" if change else entry["kind"],
                entry["step"],
                entry["time"],
                fields,
                "not known" if change else "",
            )
        )
    return told


def _joined(intent: Told, outcome: Entry) -> Told:
    names = ("request_id", "gives", "code", "message", "found")
    more = {name: outcome[name] for name in names if name in outcome}
    status = "not known" if outcome["status"] == UNKNOWN else str(outcome["status"])
    return Told("change", intent.step, intent.time, {**intent.fields, **more}, status)


def left(story: Sequence[Told]) -> list[Left]:
    """What this run made and, by its ledger, did not remove.

    The policy and the rotation of a key that the run made go with the key. The sandbox keeps no
    images: its builds are simulated.
    """
    on_sandbox = any(one.kind == "opened" and one.fields["target"] == "sandbox" for one in story)
    there: dict[tuple[str, str], str] = {}
    first_policies: dict[str, Any] = {}
    for change in story:
        if change.kind != "change" or change.status in (REFUSED, NOT_MADE):
            continue
        call, sure = change.fields["call"], change.status == "done"
        if call == "imagebuilder:CancelImageCreation" or (
            call == "imagebuilder:CreateImage" and on_sandbox
        ):
            continue
        if call in _REMOVES:
            thing = _thing(change, *_REMOVES[call])
            if call == "kms:ScheduleKeyDeletion":
                there[thing] = _scheduled(change) if sure else "deletion: not known if scheduled"
            elif sure:
                there.pop(thing, None)
            elif thing in there:
                there[thing] = "not known: its removal has no outcome in the ledger"
            continue
        thing = _thing(change, *_MAKES.get(call, (f"made by {call}", "")))
        there[thing] = "there" if sure else "not known: the call has no outcome in the ledger"
        if call == "kms:PutKeyPolicy":
            before = change.fields["before"].get("policy") or "null"
            first = first_policies.setdefault(thing[1], json.loads(before))
            if sure and json.loads(change.fields["parameters"]["Policy"]) == first:
                del there[thing]
    keys = {name for noun, name in there if noun == "KMS key"}
    return [
        Left(f"{noun} {name}", state)
        for (noun, name), state in there.items()
        if noun == "KMS key" or name not in keys
    ]


def _thing(change: Told, noun: str, named_by: str) -> tuple[str, str]:
    known = {**change.fields["parameters"], **change.fields.get("gives", {})}
    name = str(known.get(named_by, f"(line {change.fields['n']} of the ledger)"))
    if noun == "policy of role":
        name = f"{name}: {known['PolicyName']}"
    if noun == _GRANT:  # the grant that gives it back has another id
        grant = change.fields["before"].get("grant", known)
        name = f"{name}: {grant['GranteePrincipal']}, {', '.join(grant['Operations'])}"
    return noun, name


def _scheduled(change: Told) -> str:
    date = str(change.fields.get("gives", {}).get("deletion_date", "a date not in the ledger"))
    return f"scheduled for deletion: {_iso(date)}"


def chapters(story: Sequence[Told]) -> Iterator[Table]:
    """A table for each stretch of the story that one step wrote.

    Who made a call is said where it is not who opened the run.
    """
    opened_by = next((one.fields["operator"] for one in story if one.kind == "opened"), "")
    stretch: list[Told] = []
    for one in story:
        if stretch and stretch[-1].step != one.step:
            yield _chapter(stretch, opened_by)
            stretch = []
        stretch.append(one)
    if stretch:
        yield _chapter(stretch, opened_by)


def _chapter(stretch: Sequence[Told], opened_by: str) -> Table:
    rows = [
        [
            "" if (name, row.get(name)) == ("by", opened_by) else row.get(name, "")
            for name in COLUMNS
        ]
        for _, row in happened(stretch)
    ]
    return Table(stretch[0].step, COLUMNS, rows)


def happened(story: Sequence[Told]) -> Iterator[tuple[Told, dict[str, str]]]:
    """What happened, in order, each with what there is to say of it, by `COLUMNS`."""
    for before, one in zip([None, *story], story, strict=False):
        same_step = before if before is not None and before.step == one.step else None
        for row in _rows(one, same_step):
            yield one, row


def _rows(one: Told, before: Told | None) -> Iterator[dict[str, str]]:
    fields, at = one.fields, _iso(one.time)
    if one.kind == "change":
        yield {
            "what": fields["call"],
            "at": at,
            "by": fields.get("operator", ""),
            "why": fields["why"],
            "undo": fields["undo"],
            "outcome": _outcome(one),
            "AWS gave": _pairs(fields.get("gives", {})),
        }
    elif one.kind == "opened":
        yield {"what": "the run was opened", "at": at, "by": fields["operator"]}
    elif one.kind == "facts":
        if before is None or before.fields.get("gives") != fields["facts"]:
            yield {"what": "learned", "at": at, "AWS gave": _pairs(fields["facts"])}
    elif one.kind == "read":
        request = f"request {fields.get('request_id')}"
        yield {"what": fields["call"], "at": at, "by": fields["principal"], "outcome": request}
    elif one.kind == "build":
        words = {True: "✓ decrypted", False: "✗ refused", None: "? not observed"}
        yield {
            "what": f"build ({fields['when']})",
            "at": at,
            "outcome": words[fields["decrypted"]],
            "because": fields["reason"],
        }
    elif one.kind in ("findings", "scorecard"):
        for finding in fields["findings"]:
            yield {
                "what": f"{SIGNS[finding['status']]}: {finding['statement']}",
                "because": finding["evidence"],
                "mend": finding["mend"],
            }
    elif one.kind == "verdict":
        clauses = [f"{c['name']}: {c['outcome']}: {c['reason']}" for c in fields.get("clauses", ())]
        events = ", ".join(fields.get("events") or ()) or "none"
        yield {
            "what": f"verdict: {SIGNS[fields['verdict']]}",
            "at": at,
            "because": "\n".join([*clauses, f"event ids: {events}"]),
        }
    elif one.kind == "error":
        what = f"✗ {fields.get('type', 'error')}"
        yield {"what": what, "at": at, "because": fields["what"], "mend": fields.get("fix", "")}
    elif one.kind == "repaired":
        dropped = f"{fields['dropped_bytes']} bytes of a line that a crash had torn were cut off"
        yield {"what": "the ledger was repaired", "at": at, "because": dropped}
    elif one.kind == "plan":
        yield {"what": "planned", "at": at, "because": _planned(fields)}
    elif one.kind == "approved":
        because = f"plan {fields['digest']}, by {fields['how']}"
        yield {"what": "approved", "at": at, "by": fields["operator"], "because": because}
    elif one.kind == "difference":
        because = "\n".join(fields["lines"])
        yield {"what": "✗ not as it was approved", "at": at, "because": because}
    elif one.kind == "done":
        yield {"what": "the step came to its end", "at": at}
    elif one.kind in _TOLD:
        what, because = _TOLD[one.kind](fields)
        yield {"what": what, "at": at, "because": because}
    else:  # a kind that only tells
        more = {name: value for name, value in fields.items() if name != "n"}
        yield {"what": one.kind.replace("_", " "), "at": at, "because": _pairs(more)}


def _inventory(fields: Mapping[str, Any]) -> tuple[str, str]:
    unknown = [f"not known: {one['what']} ({one['why']})" for one in fields["not_known"]]
    return "workflows under the key", "\n".join([*fields["under_the_key"], *unknown]) or "none"


def _access(fields: Mapping[str, Any]) -> tuple[str, str]:
    lines = [
        f"{principal}, {action} for {what}: {outcome}"
        for principal, action, what, outcome, _, wanted in fields["cells"]
        if wanted
    ]
    unread = [f"not read: {', '.join(fields['not_read'])}"] if fields["not_read"] else []
    return f"who may use the key ({fields['when']})", "\n".join([*lines, *unread])


def _revocation(fields: Mapping[str, Any]) -> tuple[str, str]:
    begins = "the revocation goes on" if fields["further"] else "a revocation began"
    kept = f"the ledger keeps what it takes, {len(fields['before']['grants'])} grants among it"
    return f"{begins} (by {fields['by']})", kept


def _in_use(fields: Mapping[str, Any]) -> tuple[str, str]:
    lines = [f"{one['by']}: {one['how']}" for one in (*fields["workflow"], *fields["key"])]
    lines += [f"not known: {one['what']} ({one['why']})" for one in fields["not_known"]]
    return "who else uses workflow and key", "\n".join(lines) or "no use was seen"


def _records(fields: Mapping[str, Any]) -> tuple[str, str]:
    lines = [
        f"{one['name']} at {_iso(one['time'])} by {one['caller']}: {one['became']}, "
        f"seen by {_iso(one['seen'])}"
        for one in fields["records"]
    ]
    return "records seen", "\n".join(lines) or "none: absence proves nothing"


def _last_use(fields: Mapping[str, Any]) -> tuple[str, str]:
    return f"KMS's own last use of the key: {fields['agreement']}", fields["reason"]


_TOLD: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str]]] = {
    "inventory": _inventory,
    "access": _access,
    "revocation": _revocation,
    "restored": lambda _: ("what the revocation took was given back", ""),
    "in_use": _in_use,
    "after_revocation": lambda fields: ("after the revocation", fields["evidence"]),
    "last_use": _last_use,
    "records": _records,
}
"""What a line that only tells is called, and what it says."""


def _planned(fields: Mapping[str, Any]) -> str:
    """A stored plan in short: its digest, and the calls of each step."""
    lines = [f"digest {fields['digest']}"]
    for step in fields["plan"]["steps"]:
        calls = ", ".join(change["call"] for change in step["changes"])
        lines.append(f"{step['step'][:2]}: {calls or 'nothing'}")
    return "\n".join(lines)


def _outcome(change: Told) -> str:
    fields = change.fields
    request = f", request {fields['request_id']}" if fields.get("request_id") else ""
    said = f"{fields.get('code')}: {fields.get('message')}"
    found = fields.get("found")
    if change.status == DONE:
        return f"✓ done{request}" if found is None else f"✓ done, looked up by {found}"
    if change.status == REFUSED:
        return f"✗ refused: {said}"
    if change.status == NOT_MADE:
        return f"✗ not made: {said if found is None else found}"
    why = f": {fields['code']}" if "code" in fields else ": the ledger holds no outcome"
    return f"? not known{why}"


def _pairs(values: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {_iso(str(value))}" for name, value in values.items())


def _iso(text: str) -> str:
    """A time in UTC as ISO 8601 has it, with T and Z; any other text as it is."""
    return _TIME.sub(r"\1T\2Z", text)


def heading(run_id: str, opened: Entry | None, ended: str, stands: Sequence[str] = ()) -> Table:
    """Who, where, on what, how it ended, and what of it `stands` until somebody ends it."""
    said = {"ended": ended}
    if opened is not None:
        where = f"account {opened['account']}, Region {opened['region']}"
        began = _iso(opened["time"])
        said = {"who": opened["operator"], "where": where, "on": on_what(opened), "began": began}
        said["ended"] = ended
    rows = [(f"{name:<6} {value}",) for name, value in said.items()]
    rows += [(f"{'now':<6} {one}",) for one in stands]
    return Table(f"Run {run_id}", ("what",), rows)


def on_what(opened: Entry) -> str:
    """What the run talks to, and that it is not AWS wherever it is not."""
    if opened["target"] == "sandbox":
        return f"the embedded sandbox {opened['sandbox']}, not AWS"
    return "AWS" if opened["is_aws"] else f"{opened['endpoint']}, not AWS"


def ending(things: Sequence[Left], where: str, chain: Chain) -> Iterator[Table]:
    """What the run made and is left `where` it worked, and what the ledger is worth."""
    rows = [(f"{one.what}: {one.state}",) for one in things]
    note = "" if rows else "Nothing that this run made."
    yield Table(f"Left on {where}, by the ledger", ("what",), rows, note)
    about = [(f"{len(chain.entries)} lines",), (f"head hash {chain.head}",)]
    if chain.torn_bytes:
        torn = (
            f"besides, {chain.torn_bytes} bytes of a torn line, as a crash leaves it: not counted"
        )
        about.append((torn,))
    yield Table("The ledger", ("what",), about, WORTH)
