"""What hangs on the run's key: the workflows under it, and who can use it by which path.

What may not be read is not known, and named. A workflow that is older than the key is not under it.
Principals of the account other than the execution role and the operator are not enumerated: each
of them may have a policy that counts, where the key policy delegates to the account.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError
from iamaccess import Grant

from keyrunbook import paths
from keyrunbook.access import OPERATOR, ROLE
from keyrunbook.aws import who
from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.errors import AwsRefused
from keyrunbook.findings import Finding
from keyrunbook.show.tables import Table
from keyrunbook.steps import presence
from keyrunbook.steps.events import moment

if TYPE_CHECKING:
    from keyrunbook.session import Run

T = TypeVar("T")

WARNING = (
    "You can revoke access at any time. However, Image Builder will not have access to any "
    "workflows that are already encrypted if you revoke access to the key."
)
"""Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html"""
_APART = {"sandbox": timedelta(seconds=1), "aws": timedelta(seconds=10)}
"""How far the clocks of Image Builder and KMS may be apart; the sandbox has one clock."""
NOT_SERVED = "NotImplemented"
"""The error code of an endpoint that is not AWS's and does not serve an operation."""


@dataclass(frozen=True, slots=True)
class Workflows:
    """The workflow builds under a key, and what is not known: (what, why) of each."""

    under: tuple[str, ...]
    not_known: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As a command's ``--json`` has it."""
        unknown = [{"what": what, "why": why} for what, why in self.not_known]
        return {"under_the_key": list(self.under), "not_known": unknown}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.table().mimebundle()

    def table(self) -> Table:
        """The workflows by name, under the page's warning."""
        rows = [(arn, "under the key", "") for arn in self.under]
        rows += [(what, "? not known", why) for what, why in self.not_known]
        note = f"AWS's page: {WARNING}"
        if self.under:
            note += f" These workflows become unreadable to builds: {', '.join(self.under)}."
        return Table("Workflows under the key", ("workflow", "is", "because"), rows, note)

    def finding(self) -> Finding:
        """Whether every workflow of the account and Region could be looked at."""
        unread = "; ".join(f"{what}: {why}" for what, why in self.not_known)
        return Finding(
            "The inventory knows every workflow under the key",
            "not checked" if unread else "pass",
            unread or f"{len(self.under)} under the key",
        )


def workflows(run: Run, key: Mapping[str, Any] | None = None) -> Workflows:
    """The workflow builds of the account and Region that are under the run's key.

    Each that is not older than the key is read by GetWorkflow, which needs kms:Decrypt. `key` is
    the key's metadata, where it was read already.
    """
    key_arn = run.facts()["key_arn"]
    key = key or presence.key(run, key_arn)
    since = None if key is None else key.get("CreationDate")
    under: list[str] = []
    unknown: list[tuple[str, str]] = []
    began = run.now()
    for arn in _builds(run, since, unknown):
        answer = _read(partial(_key_of, run, arn), arn, unknown)
        if answer == key_arn:
            under.append(arn)
    found = Workflows(tuple(under), tuple(unknown))
    run.record("inventory", **found.to_dict(), since=began.isoformat(), until=run.now().isoformat())
    return found


def _builds(run: Run, since: datetime | None, unknown: list[tuple[str, str]]) -> Iterator[str]:
    """The workflow builds that may be under a key made at `since`."""
    listed = _read(partial(_versions, run), "the account's workflows", unknown)
    for version in listed or ():
        builds = _read(partial(_of_version, run, version), version, unknown)
        for build in builds or ():
            if since is None or not _is_older(build, since - _APART[run.target]):
                yield build["arn"]


def _versions(run: Run) -> list[str]:
    pages = run.clients("imagebuilder").get_paginator("list_workflows").paginate(owner="Self")
    return [one["arn"] for page in pages for one in page["workflowVersionList"]]


def _of_version(run: Run, version: str) -> list[dict[str, Any]]:
    pages = run.clients("imagebuilder").get_paginator("list_workflow_build_versions")
    return [
        one
        for page in pages.paginate(workflowVersionArn=version)
        for one in page["workflowSummaryList"]
    ]


def _is_older(build: Mapping[str, Any], since: datetime) -> bool:
    try:
        return moment(build["dateCreated"]) < since
    except (KeyError, ValueError):  # then it is looked at
        return False


def _key_of(run: Run, arn: str) -> str | None:
    """The ARN of the key that GetWorkflow names, or None."""
    answer = run.clients("imagebuilder").get_workflow(workflowBuildVersionArn=arn)
    named = answer["workflow"].get("kmsKeyId")
    if named is None or ":alias/" not in named:
        return None if named is None else str(named)
    key = presence.key(run, named)
    return None if key is None else str(key["Arn"])


def _read(call: Callable[[], T], what: str, unknown: list[tuple[str, str]]) -> T | None:
    """What `call` answers, or None where AWS refuses it: that is not known then, and why."""
    try:
        return call()
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            return None  # deleted since it was listed
        unknown.append((what, why_not(error)))
        return None


def why_not(error: ClientError) -> str:
    """Why something is not known, in words; raises what no reading can do without.

    Raises CredentialsMissing where the credentials are no longer good.
    """
    if code_of(error) == NOT_SERVED:
        return "this endpoint is not AWS's, and does not serve that"
    told = explain(error)
    if not isinstance(told, AwsRefused):
        raise told from error
    return told.what


# Who can use the key


def ways(run: Run, key: who.KeySide | None = None) -> Table:
    """Who can use the key, by which path, as it is written now; of two principals also whether.

    `key` is its policy and grants, where they were read already.
    """
    facts = run.facts()
    key = key or who.key_side(run.clients, facts["key_arn"])
    rows = [*_statements(json.loads(key.text or "{}"))]
    read = who.read(run.clients, key, facts["role_name"]) if "role_name" in facts else None
    operator = who.operator(run.clients, key)
    judged: list[tuple[str, Iterable[paths.Path]]] = [(OPERATOR, paths.of_operator(operator))]
    if read is not None:
        judged.insert(0, (ROLE, paths.of_role(read)))
        rows += [("not read", ROLE, permission, "? not known") for permission in read.refused]
    for principal, found in judged:
        rows += [
            (one.kind, principal, one.name, f"? {one.doubt}" if one.doubt else "✓ open")
            for one in found
        ]
    rows += _grants(key.grants or [])
    rows += _not_read(key)
    rows.append(
        (paths.BY_OWN, "other principals of the account", "", "not enumerated: each may have some")
    )
    columns = ("path", "who", "by", "is")
    note = "A path marked open lets its principal use the key for workflows, whatever else is shut."
    return Table("Who can use the key, and by which path", columns, rows, note)


def _statements(policy: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    listed = policy.get("Statement", [])
    for number, one in enumerate([listed] if isinstance(listed, Mapping) else listed, 1):
        actions = one.get("Action", one.get("NotAction", "nothing"))
        said = actions if isinstance(actions, str) else ", ".join(actions)
        yield (
            paths.BY_KEY,
            _principals(one),
            str(one.get("Sid", f"statement {number}")),
            f"{one.get('Effect')}: {'all but ' if 'NotAction' in one else ''}{said}",
        )


def _principals(statement: Mapping[str, Any]) -> str:
    named = statement.get("Principal", statement.get("NotPrincipal", "nobody"))
    values = [named] if isinstance(named, str) else list(named.values())
    flat = [v for value in values for v in ([value] if isinstance(value, str) else value)]
    return ("all but " if "NotPrincipal" in statement else "") + ", ".join(flat)


def _grants(found: Iterable[Grant]) -> Iterator[tuple[str, str, str, str]]:
    for one in found:
        constrained = one.encryption_context_subset or one.encryption_context_equals
        said = ", ".join(sorted(one.operations)) + (" (constrained)" if constrained else "")
        yield (paths.BY_GRANT, one.grantee, one.grant_id, said)


def _not_read(key: who.KeySide) -> Iterator[tuple[str, str, str, str]]:
    for kind, read in ((paths.BY_KEY, key.text), (paths.BY_GRANT, key.grants)):
        if read is None:
            yield (kind, "", "", f"? not known: refused ({', '.join(key.refused)})")
