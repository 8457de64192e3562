"""What is in the report of a run: values, made of what the run wrote down. Nothing is read here.

What the ledger does not say is said to be not known, with why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyrunbook.confidential import without_secrets
from keyrunbook.ledger import Chain, facts_of
from keyrunbook.plan import POLICIES
from keyrunbook.report.evidence import Evidence, clock, evidence
from keyrunbook.report.policies import PolicyChange, policy_changes
from keyrunbook.report.unknown import unknown
from keyrunbook.show import story
from keyrunbook.show.story import Told
from keyrunbook.show.tables import SIGNS, Table
from keyrunbook.show.timeline import Timeline
from keyrunbook.steps.timeline import timeline

Entry = Mapping[str, Any]

NOT_KNOWN: Final = "not known: "
_ELSEWHERE: Final = {"findings", "scorecard", "verdict", "records", "access"}
"""The kinds of line that have a section of their own."""
_OF_THE_MACHINE: Final = {"outputs_dir", "run_id", "approve"}
"""Parameters that say nothing of what was done."""
_WHEN: Final = {
    "granted": "after 02",
    "before": "before 05",
    "one": "one path closed",
    "both": "all paths closed",
    "revoked": "revoked",
    "restored": "given back",
}
"""The moments at which a run looks at who may use the key, and has a build try it."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the run's folder: its size, and the SHA-256 of its bytes."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What a run left on disk. `ended` and `stands` are sentences, as `runbook show` has them."""

    run_id: str
    chain: Chain
    result: Mapping[str, Any]
    ended: str
    stands: Sequence[str]
    files: Sequence[File]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: what, when, and what there is to say of it, by name.

    `parameters` are those of a call, as JSON; empty for what is no call. Who did it is said where
    it is not who opened the run.
    """

    what: str
    at: str
    told: tuple[tuple[str, str], ...]
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a run, in the order in which it is read."""

    run_id: str
    banner: str
    summary: tuple[tuple[str, str], ...]
    stands: tuple[str, ...]
    error: tuple[str, str] | None
    steps: Table
    given: Table
    evidence: Evidence
    done: tuple[tuple[str, tuple[Event, ...]], ...]
    policies: tuple[PolicyChange, ...]
    access: Table
    builds: Table
    timeline: Timeline
    last_use: str
    findings: tuple[Table, ...]
    unknown: Table
    undo: Table
    left: Table
    ledger: tuple[tuple[str, str], ...]
    worth: str
    files: Table


def report(on_disk: OnDisk) -> Report:
    """The report of what a run left on disk, without what looks confidential.

    Raises:
        MalformedRecord: a record that the ledger keeps is not one.
    """
    entries: list[dict[str, Any]] = without_secrets(on_disk.chain.entries)
    result: dict[str, Any] = without_secrets(on_disk.result)
    told = story.tell(entries)
    opened = next((one for one in entries if one["kind"] == "opened"), None)
    facts = {name: value for one in entries for name, value in facts_of(one).items()}
    key_arn = facts.get("key_arn")
    return Report(
        on_disk.run_id,
        _banner(opened),
        tuple(_summary(entries, opened, facts, result, on_disk)),
        tuple(on_disk.stands),
        _error(entries, result),
        _steps(entries, result),
        _given(opened, result),
        evidence(entries, key_arn),
        tuple(_done(told, opened)),
        policy_changes(told),
        _access(entries),
        _builds(entries),
        timeline(entries, f"Run {on_disk.run_id}, {_where(opened)}"),
        _last_use(entries),
        tuple(_findings(entries)),
        _unknown(told, opened, entries),
        _undo(told),
        _left(story.tell(on_disk.chain.entries), opened),
        tuple(_ledger(on_disk.chain)),
        story.WORTH.replace("\n", " "),
        _files(on_disk.files),
    )


def _where(opened: Entry | None) -> str:
    return "no target" if opened is None else story.on_what(opened)


def _banner(opened: Entry | None) -> str:
    """What the endpoint was, wherever it was not AWS's."""
    if opened is None:
        return "Not known whether this was AWS: the ledger does not say that the run was opened."
    if opened["is_aws"]:
        return ""
    if opened["target"] == "sandbox":
        return (
            "Not AWS: this run talked to the embedded sandbox. It says nothing of any AWS account."
        )
    return f"Not AWS: endpoint variables sent the calls of this run to {opened['endpoint']}."


def _summary(
    entries: Sequence[Entry],
    opened: Entry | None,
    facts: Mapping[str, Any],
    result: Mapping[str, Any],
    on_disk: OnDisk,
) -> Iterator[tuple[str, str]]:
    unopened = NOT_KNOWN + "the run was not opened"
    yield "how it ended", on_disk.ended
    if opened is None:
        yield "opened by", unopened
    else:
        yield "opened by", opened["operator"]
    others = {one["operator"] for one in entries if one["kind"] in ("intent", "approved")}
    for other in sorted(others - {None if opened is None else opened["operator"]}):
        yield "called or approved by", other
    for name in ("account", "region"):
        yield name.replace("region", "Region"), unopened if opened is None else opened[name]
    yield "endpoint", unopened if opened is None else story.on_what(opened)
    yield "began", clock(opened["time"]) if opened else NOT_KNOWN + "the ledger is empty"
    last = clock(entries[-1]["time"]) if entries else NOT_KNOWN + "the ledger is empty"
    yield "last line of the ledger", last
    why = "the run did not come to its end" if result else "there is no result.json"
    status = result.get("exit_status")
    yield "exit status", f"{NOT_KNOWN}{why}" if status is None else str(status)
    for name, words in _MADE.items():
        yield words, str(facts.get(name) or NOT_KNOWN + "the run did not get so far")


_MADE: Final = {
    "key_arn": "key",
    "workflow_arn": "workflow",
    "role_arn": "execution role",
}


def _error(entries: Sequence[Entry], result: Mapping[str, Any]) -> tuple[str, str] | None:
    """What the run failed with, and what to do about it: by result.json, else by the ledger."""
    if error := result.get("error"):
        return error["what"], error["fix"]
    if result:
        return None
    last = entries[-1] if entries else {}
    return (last["what"], last.get("fix", "")) if last.get("kind") == "error" else None


def _steps(entries: Sequence[Entry], result: Mapping[str, Any]) -> Table:
    if result:
        rows = [
            (
                one["name"],
                one["status"],
                "" if one.get("seconds") is None else f"{one['seconds']:.1f}",
                one.get("notebook") or "",
            )
            for one in result["steps"]
        ]
        return Table("The steps", ("step", "status", "seconds", "executed notebook"), rows)
    done = dict.fromkeys(one["step"] for one in entries if one["kind"] == "done")
    begun = dict.fromkeys(one["step"] for one in entries)
    rows = [(step, "done" if step in done else "not done", "", "") for step in begun]
    note = "There is no result.json: this is what the ledger says."
    return Table("The steps", ("step", "status", "seconds", "executed notebook"), rows, note)


def _given(opened: Entry | None, result: Mapping[str, Any]) -> Table:
    given = result.get("parameters") or (opened or {}).get("parameters") or {}
    rows = [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in given.items()
        if value is not None and name not in _OF_THE_MACHINE
    ]
    note = "" if rows else "None: all have their defaults."
    return Table("Parameters that were given", ("parameter", "value"), rows, note)


def _done(told: Sequence[Told], opened: Entry | None) -> Iterator[tuple[str, tuple[Event, ...]]]:
    """What happened, by step; a step that was run again has a stretch for each time."""
    stretch: list[Event] = []
    step = ""
    for one, row in story.happened(told):
        if one.kind in _ELSEWHERE:
            continue
        if stretch and one.step != step:
            yield step, tuple(stretch)
            stretch = []
        step = one.step
        stretch.append(_event(one, row, "" if opened is None else opened["operator"]))
    if stretch:
        yield step, tuple(stretch)


def _event(one: Told, row: Mapping[str, str], opened_by: str) -> Event:
    told = tuple(
        (name, row[name])
        for name in story.COLUMNS[2:]
        if row.get(name) and (one.kind == "opened" or (name, row[name]) != ("by", opened_by))
    )
    given = _parameters(one.fields["parameters"]) if one.kind == "change" else ""
    return Event(row["what"], clock(one.time), told, given)


def _parameters(given: Mapping[str, Any]) -> str:
    """The parameters of a call as JSON; its policies have a section of their own."""
    short = {
        name: "(see the policies)" if name in POLICIES else value for name, value in given.items()
    }
    return json.dumps(short, indent=2, ensure_ascii=False)


def _access(entries: Iterable[Entry]) -> Table:
    """Who may use the key, at each moment that the run looked: the newest look at each."""
    looks = {one["when"]: one for one in entries if one["kind"] == "access"}
    if not looks:
        note = NOT_KNOWN + "the run did not come to deciding it."
        return Table("Who may use the key", ("principal", "action", "for"), [], note)
    answers: dict[tuple[str, str, str], dict[str, tuple[str, str]]] = {}
    for when, look in looks.items():
        for principal, action, what, outcome, why, _ in look["cells"]:
            answer = (SIGNS[outcome], why.replace(action, "it"))
            answers.setdefault((principal, action, what), {})[when] = answer
    rows: dict[tuple[str, ...], list[str]] = {}
    for (principal, action, what), found in answers.items():
        decided = [found[when][0] if when in found else "" for when in looks]
        last = found[list(found)[-1]][1]
        rows.setdefault((principal, what, *decided, last), []).append(action)
    columns = ("principal", "action", "for", *(_moment(one) for one in looks), "because")
    body = [(one[0], ", ".join(actions), *one[1:]) for one, actions in rows.items()]
    note = "Decided from the policies as they were read. The reason is that of the last look."
    return Table("Who may use the key", columns, body, note)


def _moment(when: str) -> str:
    return _WHEN.get(when, when)


def _builds(entries: Iterable[Entry]) -> Table:
    words = {True: "✓ read it", False: "✗ refused", None: "? not observed"}
    rows = [
        (
            _moment(one["when"]),
            clock(one["time"]),
            words[one["decrypted"]],
            one["reason"],
        )
        for one in entries
        if one["kind"] == "build"
    ]
    note = "" if rows else NOT_KNOWN + "no build was looked at. Only a build is an observation."
    return Table("What builds observed", ("when", "at", "the workflow", "because"), rows, note)


def _last_use(entries: Iterable[Entry]) -> str:
    told = [one for one in entries if one["kind"] == "last_use"]
    if not told:
        return f"KMS's own last use of the key: {NOT_KNOWN}the run did not ask."
    return f"KMS's own last use of the key: {told[-1]['agreement']}. {told[-1]['reason']}"


def _findings(entries: Iterable[Entry]) -> Iterator[Table]:
    """The findings of each step and the scorecard, each as it was found last."""
    columns = ("statement", "outcome", "evidence", "how to mend it")
    last: dict[str, Entry] = {}
    for one in entries:
        if one["kind"] in ("findings", "scorecard"):
            what = "Findings" if one["kind"] == "findings" else "Data-protection scorecard"
            last[f"{what} of {one['step']}"] = one
    for caption, one in sorted(last.items(), key=lambda item: (item[1]["step"], item[0])):
        rows = [
            (row["statement"], SIGNS[row["status"]], row["evidence"], row["mend"])
            for row in one["findings"]
        ]
        yield Table(caption, columns, rows)


def _unknown(told: Sequence[Told], opened: Entry | None, entries: Sequence[Entry]) -> Table:
    whole = "the run"
    rows: list[tuple[str, str, str]] = []
    if opened is None:
        rows.append((whole, "where and by whom it was made", "the ledger has no such line"))
    if not any(one["kind"] == "verdict" for one in entries):
        rows.append((whole, "the verdict", "it did not come to one"))
    if any("record" not in one for each in entries for one in each.get("records", ())):
        why = "the ledger is of a version that did not keep it"
        rows.append((whole, "the text of some of CloudTrail's records", why))
    rows += unknown(told)
    note = "" if rows else "Nothing that the run asked stayed without an answer."
    return Table("What stayed unknown", ("step", "what", "why"), rows, note)


def _undo(told: Sequence[Told]) -> Table:
    rows = [
        (
            one.fields["call"],
            clock(one.time),
            _named(one.fields),
            one.fields["undo"],
            "" if one.status == "done" else f"? {one.status}",
        )
        for one in reversed(told)
        if one.kind == "change" and one.status in ("done", "not known")
    ]
    note = "" if rows else "Nothing was changed."
    columns = ("call", "at", "of", "undone by", "outcome")
    return Table("How each change is undone, the last one first", columns, rows, note)


_NAMED_BY: Final = (
    *("AliasName", "RoleName", "KeyId", "workflowBuildVersionArn", "imageBuildVersionArn", "name"),
)
"""The parameters that name what a call is about, that of the smaller thing first."""


def _named(fields: Mapping[str, Any]) -> str:
    """What a call was about: the ARN that AWS gave, else what its parameters name."""
    arns = [str(one) for one in fields.get("gives", {}).values() if str(one).startswith("arn:")]
    given = fields["parameters"]
    names = [*arns, *(str(given[name]) for name in _NAMED_BY if name in given), ""]
    policy = f": {given['PolicyName']}" if "RoleName" in given and "PolicyName" in given else ""
    return names[0] + policy


def _left(told: Sequence[Told], opened: Entry | None) -> Table:
    # Of the lines as they are: what is left out of a policy may leave it no JSON.
    rows = [tuple(without_secrets((one.what, one.state))) for one in story.left(told)]
    note = "By the ledger: what somebody did since by other means does not show."
    if not rows:
        note = f"Nothing that this run made. {note}"
    on_aws = opened is not None and opened["is_aws"]
    caption = "What is left in AWS" if on_aws else f"What is left ({_where(opened)})"
    return Table(caption, ("what", "how it stands"), rows, note)


def _ledger(chain: Chain) -> Iterator[tuple[str, str]]:
    yield "lines", str(len(chain.entries))
    yield "head hash", chain.head if chain.entries else "none: the ledger is empty"
    yield "chain", "whole: each line follows from the one before it"
    if chain.torn_bytes:
        yield "torn end", f"{chain.torn_bytes} bytes, as a crash leaves them: not counted"


def _files(files: Iterable[File]) -> Table:
    rows = [(one.name, str(one.size_bytes), one.sha256) for one in files]
    note = "Compare them with: sha256sum FILE" if rows else "There are none."
    return Table("The files that this report was made of", ("file", "bytes", "SHA-256"), rows, note)
