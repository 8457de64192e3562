"""Why was this refused? A refused call of KMS, decided again by the policies.

Once by the policies as they were then: the key's policy, this run's policy of the role and the
grants that it took are as the ledger says; what else decides is as it is now. And once by all as it
is now. Policy changes take effect late, so that the two may differ from what AWS did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from iamaccess import (
    ContextValue,
    MalformedPolicy,
    Outcome,
    Policies,
    Policy,
    Principal,
    Request,
    parse_policy,
)

from keyrunbook import access, mending
from keyrunbook.access import Answer
from keyrunbook.aws import who
from keyrunbook.proof import ARN_KEY, MESSAGE_KEY
from keyrunbook.records import KMS, Record
from keyrunbook.show.tables import SIGNS, Table
from keyrunbook.steps.events import moment
from keyrunbook.steps.grant_access import policy_name

if TYPE_CHECKING:
    from keyrunbook.proof import Verdict
    from keyrunbook.session import Run

_REFUSED: Final = {"AccessDenied", "AccessDeniedException"}
"""The error codes of records whose calls the policies refused."""
_SECOND: Final = timedelta(seconds=1)
"""Records have whole seconds, and the ledger's times are at most one behind AWS's: what was changed
so near to a record may have come before it or after.
"""


@dataclass(frozen=True, slots=True)
class Why:
    """One refused record, and why: by the policies `then` and `now`.

    `assumed` says what the record does not tell and was taken for granted. Both answers are None
    where policies did not refuse, and `assumed` says what did.
    """

    record: Record
    then: Answer | None
    now: Answer | None
    assumed: str = ""


def why_refused(run: Run, records: Sequence[Record], key: who.KeySide | None = None) -> Table:
    """Why each of these records was refused, as a table; those that were not are left out.

    `key` is the key's policy and grants as they are now, where they were read already.
    """
    return _table(explained(run, [one for one in records if one.failed and not one.dry_run], key))


def why_refused_in(run: Run, verdict: Verdict) -> Table:
    """Why each refused record that a verdict set aside was refused, as a table."""
    return why_refused(run, [one.record for one in verdict.rejected])


def explained(run: Run, records: Sequence[Record], key: who.KeySide | None = None) -> list[Why]:
    """Why each of these records was refused. Reads the policies once, if one of them needs it."""
    judged = [one for one in records if _is_judged(one)]
    if not judged:
        return [Why(one, None, None, _not_by_policies(one)) for one in records]
    case = _Case(run, key)
    return [
        case.why(one) if _is_judged(one) else Why(one, None, None, _not_by_policies(one))
        for one in records
    ]


def _is_judged(record: Record) -> bool:
    refused = record.source == KMS and record.error_code in _REFUSED
    return refused and record.principal_arn is not None


def _not_by_policies(record: Record) -> str:
    """What refused a call that no policy on the key refused."""
    if record.error_code is None:
        return "it was not refused"
    if record.source == KMS and record.error_code in _REFUSED:
        return "the record does not tell who called"
    if record.source != KMS:
        return f"{record.source} refused it: only calls of KMS are decided here"
    if record.error_code == "InvalidCiphertextException":
        return "the encryption context is not that of the encryption: no permission is missing"
    return f"{record.error_code}: no permission is missing"


class _Case:
    """The policies of a run, now and then, for the refusals of one look."""

    def __init__(self, run: Run, key: who.KeySide | None) -> None:
        self._run = run
        facts = run.facts()
        self._key_arn = facts["key_arn"]
        key = key or who.key_side(run.clients, self._key_arn)
        name = facts.get("role_name")  # a run may not have come to its role yet
        self._role = None if name is None else who.read(run.clients, key, name)
        self._key = key
        self._own = policy_name(run.run_id)
        self._changes = list(_changes(run, self._key_arn, name))

    @cached_property
    def _operator(self) -> access.Operator:
        """The operator, who is read only where it may be who was refused."""
        return who.operator(self._run.clients, self._key)

    def _by_operator(self, record: Record) -> bool:
        return record.principal_arn == self._run.identity.arn

    def why(self, record: Record) -> Why:
        request, assumed = self._request(record)
        now = self._layers(record)
        ours = None
        if self._role is not None and record.issuer_arn == self._role.role_arn:
            ours = mending.Ours(self._run.run_id, self._role.role_arn, self._key_arn, self._own)
        return Why(
            record,
            self._then(request, now, record.time, ours),
            access.answered(request, now, ours),
            assumed,
        )

    def _then(
        self, request: Request, now: Policies, time: datetime, ours: mending.Ours | None
    ) -> Answer:
        """By the policies then: of those that may have been in effect, the ones that refuse."""
        since, until = time - _SECOND, time + 2 * _SECOND
        changed = {one.time for one in self._changes if since <= one.time <= until}
        own = None if ours is None else self._own
        answers = [
            access.answered(request, policies_at(now, self._changes, at, self._key_arn, own), ours)
            for at in (time + _SECOND, *sorted(changed), since)
        ]
        return next((one for one in answers if one.outcome is not Outcome.ALLOWED), answers[0])

    def _layers(self, record: Record) -> Policies:
        """The policies that bear on who called, as they are now; of a stranger only the key's."""
        if self._role is not None and record.issuer_arn == self._role.role_arn:
            return self._role.policies
        if self._by_operator(record):
            return self._operator.policies
        return Policies(resource=self._key.policy, grants=self._key.grants)

    def _request(self, record: Record) -> tuple[Request, str]:
        """What was asked, by the record; and what it does not tell."""
        context, assumed = record.encryption_context, ""
        if context is None:
            version = str(self._run.facts().get("workflow_arn", "")).rpartition("/")[0]
            context = {ARN_KEY: f"{version}/*", MESSAGE_KEY: ""} if version else {}
            assumed = "the record has no encryption context: this run's workflow is taken"
        pairs: dict[str, ContextValue] = {
            f"kms:EncryptionContext:{name}": value for name, value in context.items() if value
        }
        pairs["kms:EncryptionContextKeys"] = list(context)
        by_role = self._role is not None and record.issuer_arn == self._role.role_arn
        if record.invoked_by is not None and not by_role:
            pairs |= {"aws:CalledVia": [record.invoked_by], "aws:ViaAWSService": True}
        key_arn = record.key_arns[0] if record.key_arns else self._key_arn
        action = f"kms:{record.name}"
        return Request(self._principal(record), action, key_arn, pairs, absent=()), assumed

    def _principal(self, record: Record) -> Principal:
        if self._by_operator(record):
            return self._operator.principal
        arn = record.principal_arn or "unknown"
        account = arn.split(":")[4] if arn.count(":") >= 5 else None
        role, by = self._role, record.issuer_arn
        if arn.endswith(":root"):
            return Principal("root", arn, account)
        if by is None:
            return Principal("user" if ":user/" in arn else "session", arn, account)
        unique_id = role.role_id if role is not None and by == role.role_arn else None
        return Principal("session", arn, account, by, unique_id)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the run: of what, when AWS had made it, what was there before and after."""

    what: Literal["key policy", "role policy", "grant", "grant id"]
    time: datetime
    before: Any
    after: Any


_AS_NOW: Final = object()
"""Stands for a policy that the run did not change: it is taken as it is now."""


def _changes(run: Run, key_arn: str, role_name: str | None) -> Iterator[Change]:
    """What the run changed of the key's policy, its own policy of the role, and grants."""
    for intent, outcome in run.ledger.served():
        asked, before = intent["parameters"], intent["before"]
        time = moment(outcome["time"])
        match intent["call"]:
            case "kms:PutKeyPolicy" if asked["KeyId"] == key_arn:
                yield Change("key policy", time, before.get("policy"), asked["Policy"])
            case "iam:PutRolePolicy" if asked["RoleName"] == role_name:
                yield Change("role policy", time, before["policy"], asked["PolicyDocument"])
            case "iam:DeleteRolePolicy" if asked["RoleName"] == role_name:
                yield Change("role policy", time, before["policy"], None)
            case "kms:RevokeGrant" if asked["KeyId"] == key_arn:
                yield Change("grant", time, before["grant"], None)
            case "kms:CreateGrant" if asked["KeyId"] == key_arn:
                for grant_id in outcome.get("gives", {}).values():
                    yield Change("grant id", time, None, grant_id)


def policies_at(
    now: Policies, changes: Sequence[Change], at: datetime, key_arn: str, own: str | None
) -> Policies:
    """The policies at that time, of `now` and what the run changed.

    `own` is the name of the run's policy of the role, where the role's policies are meant.
    """
    resource, identity, grants = now.resource, now.identity, now.grants
    key_policy = _value_at(changes, "key policy", at)
    if key_policy is not _AS_NOW:
        resource = _parsed(key_policy, "resource", "key policy")
    role_policy = _value_at(changes, "role policy", at)
    if own is not None and identity is not None and role_policy is not _AS_NOW:
        there = _parsed(role_policy, "identity", own) if role_policy is not None else []
        others = [one for one in identity if one.name != own]
        identity = None if there is None else [*others, *there]
    if grants is not None:
        later = [one for one in changes if one.time > at]
        made = {one.after for one in later if one.what == "grant id"}
        taken = [who.grant(one.before, key_arn) for one in later if one.what == "grant"]
        grants = [*(one for one in grants if one.grant_id not in made), *taken]
    return replace(now, resource=resource, identity=identity, grants=grants)


def _value_at(changes: Iterable[Change], what: str, at: datetime) -> Any:
    """What was there at that time: what the last change left, else what the first one found."""
    of_it = [one for one in changes if one.what == what]
    if not of_it:
        return _AS_NOW
    earlier = [one for one in of_it if one.time <= at]
    return earlier[-1].after if earlier else of_it[0].before


def _parsed(document: Any, kind: Any, name: str) -> list[Policy] | None:
    """The policy, or None where there is none that the judge can read."""
    if document is None:
        return None
    try:
        return [parse_policy(document, kind=kind, name=name)]
    except MalformedPolicy:
        return None


def _table(whys: Sequence[Why]) -> Table:
    rows = [row for why in whys for row in _rows(why)]
    assumed = dict.fromkeys(why.assumed for why in whys if why.assumed and why.then is not None)
    if not rows:
        note = "No record of a refusal was seen."
    elif assumed:
        note = f"Of a record that tells less: {'; '.join(assumed)}."
    else:
        note = ""
    columns = (
        *("event", "time (UTC)", "principal", "by the policies"),
        *("decision", "because", "nearest miss", "mended by", "settled by"),
    )
    return Table("Why was this refused?", columns, rows, note)


def _rows(why: Why) -> Iterator[tuple[str, ...]]:
    record = why.record
    told = (
        record.name,
        f"{record.time:%Y-%m-%dT%H:%M:%SZ}",
        (record.principal_arn or "unknown").split(":", 5)[-1],
    )
    if why.then is None or why.now is None:
        yield (*told, "none", "", why.assumed, "", "", "")
        return
    then, now = "as the ledger says they were then", "as they are now"
    both = (
        {f"{then}, and {now}": why.now} if why.then == why.now else {then: why.then, now: why.now}
    )
    for by, answer in both.items():
        yield (
            *told,
            by,
            SIGNS[answer.outcome.value],
            answer.why,
            "; then ".join(answer.near),
            str(answer.mend or ""),
            answer.settles,
        )
