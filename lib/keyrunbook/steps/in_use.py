"""Who else uses what a clean-up would delete: the workflow, and the key.

Absence proves nothing: what was looked at and shows no use is said to show none, and what could not
be looked at is not known, and named. Who is set up to use the key, by its policy, a grant or an
alias, counts as much as who has used it.
Source: https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys-determining-usage.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from botocore.exceptions import ClientError

from keyrunbook import policies
from keyrunbook.errors import AwsRefused
from keyrunbook.proof import ARN_KEY
from keyrunbook.records import KMS, Record
from keyrunbook.show.tables import Table
from keyrunbook.steps import inventory, key_usage, presence
from keyrunbook.steps.builds import ENDED
from keyrunbook.steps.events import CLOCK_SKEW, history, moment
from keyrunbook.usage import OPERATIONS

if TYPE_CHECKING:
    from keyrunbook.session import Run

T = TypeVar("T")

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Use:
    """What names the workflows, what uses the key beside this run, and what is not known of both.

    Each is a name and how, or why.
    """

    workflow: tuple[tuple[str, str], ...] = ()
    key: tuple[tuple[str, str], ...] = ()
    not_known: tuple[tuple[str, str], ...] = ()
    key_not_known: tuple[tuple[str, str], ...] = ()
    looked_at: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As the ledger holds it."""
        return {
            "workflow": [{"by": who, "how": how} for who, how in self.workflow],
            "key": [{"by": who, "how": how} for who, how in self.key],
            "not_known": [
                {"what": what, "why": why} for what, why in (*self.not_known, *self.key_not_known)
            ],
            "looked_at": list(self.looked_at),
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.table().mimebundle()

    def table(self) -> Table:
        """Who uses what."""
        rows = [
            *(("workflow", "✗ in use", who, how) for who, how in self.workflow),
            *(("key", "✗ in use", who, how) for who, how in self.key),
            *(("workflow", "? not known", what, why) for what, why in self.not_known),
            *(("key", "? not known", what, why) for what, why in self.key_not_known),
        ]
        looked = f"Looked at: {', '.join(self.looked_at)}." if self.looked_at else ""
        note = looked or "There is nothing to delete that others could use."
        if looked and not rows:
            note = f"No use by anything else was seen. {looked} Absence proves nothing."
        return Table("Who else uses it", ("what", "is", "by", "how"), rows, note)


@dataclass(slots=True)
class _Look:
    """One look: what was found so far."""

    run: Run
    workflow: list[tuple[str, str]] = field(default_factory=list)
    key: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    key_unknown: list[tuple[str, str]] = field(default_factory=list)
    at: list[str] = field(default_factory=list)

    def read(self, call: Callable[[], T], what: str, *, of_key: bool = True) -> T | None:
        """What `call` answers, or None where AWS refuses it: that is not known then."""
        unknown = self.key_unknown if of_key else self.unknown
        try:
            answer = call()
        except ClientError as error:
            unknown.append((what, inventory.why_not(error)))
            return None
        except AwsRefused as error:
            unknown.append((what, error.what))
            return None
        self.at.append(what)
        return answer


def look(
    run: Run, workflows: Iterable[str], key: Mapping[str, Any] | None, policy: str | None = None
) -> Use:
    """Who else uses these workflow builds of the run, and the key where it is given.

    `policy` is the text of the key's policy, where it was read already.
    """
    found, builds = _Look(run), tuple(workflows)
    if builds:
        for search, what in ((_pipelines, "image pipelines"), (_building, "images being built")):
            named = found.read(partial(search, run, builds), what, of_key=False)
            found.workflow += named or ()
    if key is not None:
        arn = key["Arn"]
        # First, before what follows makes more of them; a use after it GetKeyLastUsage tells of.
        records = found.read(lambda: _records(found, key), "records of the key's uses")
        found.key += found.read(lambda: _statements(run, arn, policy), "the key's policy") or ()
        found.key += found.read(lambda: _grants(run, arn), "the key's grants") or ()
        found.key += found.read(lambda: _aliases(run, arn), "the key's aliases") or ()
        last = found.read(lambda: _last_usage(run, key["Arn"]), "GetKeyLastUsage") or {}
        listed = inventory.workflows(run, key)
        found.key_unknown.extend(listed.not_known)
        found.at.append("workflows under the key")
        found.key += [(arn, "is under the key") for arn in listed.under if arn not in _ours(run)]
        found.key += _by_records(run, records or ())
        found.key += _by_last_usage(run, last, records or ())
    use = Use(
        tuple(found.workflow),
        tuple(found.key),
        tuple(found.unknown),
        tuple(found.key_unknown),
        tuple(found.at),
    )
    if use.looked_at or use.not_known or use.key_not_known:
        run.record("in_use", **use.to_dict())
    return use


def names(reference: str, build: str) -> bool:
    """Whether a workflow's ARN, with wildcards in its version or without, may mean this build.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/ibhow-semantic-versioning.html
    """
    wanted, given = build.split("/"), reference.split("/")
    if given[:3] != wanted[:3] or len(given) < 4:
        return False
    versions = zip(given[3].split("."), wanted[3].split("."), strict=False)
    alike = all(one in ("x", other) for one, other in versions)
    return alike and (len(given) < 5 or given[4] == wanted[4])


def _statements(run: Run, key_arn: str, policy: str | None) -> list[tuple[str, str]]:
    """The key policy's statements that are not of this run, nor what it made the key with."""
    text = presence.key_policy_text(run, key_arn) if policy is None else policy
    made = presence.made(run, "kms:CreateKey")[-1]["Policy"]
    own = [policies.sid(word, run.run_id) for word in ("WorkflowKeyUse", "WorkflowKeyRevoked")]
    others = policies.besides(json.loads(text), json.loads(made), own)
    return [(f"the key policy's statement {name}", "is not of this run") for name in others]


def _grants(run: Run, key_arn: str) -> list[tuple[str, str]]:
    """The key's grants: the run makes none but those that it gives back to others."""
    return [
        (one["GranteePrincipal"], f"has the grant {one['GrantId']}: {', '.join(one['Operations'])}")
        for one in presence.grants(run, key_arn)
    ]


def _aliases(run: Run, key_arn: str) -> list[tuple[str, str]]:
    """The aliases of the key that the run did not make."""
    made = {one["AliasName"] for one in presence.made(run, "kms:CreateAlias")}
    pages = run.clients("kms").get_paginator("list_aliases").paginate(KeyId=key_arn)
    names = [one["AliasName"] for page in pages for one in page["Aliases"]]
    return [(name, "is an alias of the key, not of this run") for name in names if name not in made]


def _pipelines(run: Run, workflows: tuple[str, ...]) -> list[tuple[str, str]]:
    pages = run.clients("imagebuilder").get_paginator("list_image_pipelines").paginate()
    return [
        (one["arn"], f"the pipeline names it (status {one.get('status', 'unknown')})")
        for page in pages
        for one in page["imagePipelineList"]
        if _names_any(one, workflows)
    ]


def _building(run: Run, workflows: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    builder = run.clients("imagebuilder")
    versions = [
        one["arn"]
        for page in builder.get_paginator("list_images").paginate(owner="Self")
        for one in page["imageVersionList"]
    ]
    pages = builder.get_paginator("list_image_build_versions")
    for version in versions:
        for page in pages.paginate(imageVersionArn=version):
            for one in page["imageSummaryList"]:
                if one["state"]["status"] in ENDED:
                    continue
                image = builder.get_image(imageBuildVersionArn=one["arn"])["image"]
                if _names_any(image, workflows):
                    found.append((one["arn"], f"the image is {one['state']['status']} with it"))
    return found


def _names_any(one: Mapping[str, Any], workflows: tuple[str, ...]) -> bool:
    named = [entry["workflowArn"] for entry in one.get("workflows", [])]
    return any(names(reference, build) for reference in named for build in workflows)


def _ours(run: Run) -> set[str]:
    made = {one["workflow_arn"] for one in presence.made(run, "imagebuilder:CreateWorkflow")}
    known = run.facts().get("workflow_arn")
    return made | ({known} if known else set())


def _last_usage(run: Run, key_arn: str) -> dict[str, Any]:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html"""
    answer = run.clients("kms").get_key_last_usage(KeyId=key_arn)
    return dict(answer.get("KeyLastUsage") or {})


def _records(found: _Look, key: Mapping[str, Any]) -> list[Record]:
    """The records of successful uses of the key since it was made, as far as they are in reach."""
    run = found.run
    since = key["CreationDate"].replace(microsecond=0)  # by KMS's clock, as its records
    until = run.now() + CLOCK_SKEW[run.target]
    answer = history(run).search(key_usage.spans(since, until))
    if not answer.searched.complete:
        why = answer.searched.why_incomplete or "some could not be read"
        found.key_unknown.append(("records of the key's uses", why))
    return [
        one
        for one in answer.records
        if one.source == KMS
        and one.name in OPERATIONS
        and key["Arn"] in one.key_arns
        and not (one.failed or one.dry_run)
    ]


def _is_ours(run: Run, record: Record) -> bool:
    """Whether the use was about a workflow of this run: by its context, whoever called."""
    named = (record.encryption_context or {}).get(ARN_KEY)
    return named in {arn.rpartition("/")[0] + "/*" for arn in _ours(run)}


def _by_records(run: Run, records: Iterable[Record]) -> list[tuple[str, str]]:
    others = [one for one in records if not _is_ours(run, one)]
    told = [
        (one.caller or "unknown", f"{one.name} at {one.time:%Y-%m-%dT%H:%M:%SZ}")
        for one in others[-_SHOWN:]
    ]
    more = len(others) - len(told)
    return [*told, *([("others", f"{more} more uses before that")] if more else [])]


def _by_last_usage(
    run: Run, last: Mapping[str, Any], records: Iterable[Record]
) -> list[tuple[str, str]]:
    """The key's last use, where neither a record nor a call of this run explains it."""
    if not last or last.get("CloudTrailEventId") in {one.event_id for one in records}:
        return []
    at = last["Timestamp"]
    if any(since <= at <= until for since, until in _calls(run)):
        return []
    return [("unknown", f"{last['Operation']} at {at:%Y-%m-%dT%H:%M:%SZ} (GetKeyLastUsage)")]


def _calls(run: Run) -> Iterator[tuple[datetime, datetime]]:
    """When this run's own calls led to uses of the key."""
    skew = CLOCK_SKEW[run.target]
    began: dict[int, datetime] = {}
    newest = 0
    for entry in run.ledger.entries():
        if entry["kind"] == "intent":
            newest = entry["n"]
            began[newest] = moment(entry["time"])
        elif entry["kind"] == "outcome":
            if "found" not in entry:  # a look-up may be long after the call
                yield began[entry.get("intent", newest)] - skew, moment(entry["time"]) + skew
        elif "since" in entry and "until" in entry:
            yield moment(entry["since"]) - skew, moment(entry["until"]) + skew
