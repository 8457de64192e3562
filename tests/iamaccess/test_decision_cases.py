"""The specification: each row of `cases/*.json` is one question, its answer and its reason.

A row names the AWS document that it comes from. What a row leaves out is the usual: the execution
role's session asks to `kms:Decrypt` with the key, and each layer is known to be empty; null says
that a layer was not given. A policy is named (in the file's `policies`), or a document, or a single
statement. A field that is not known here is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from iamaccess import (
    Grant,
    MalformedPolicy,
    Policies,
    Policy,
    Principal,
    Request,
    decide,
    denied_message,
    parse_policy,
)
from iamaccess.model import PolicyKind

FILES = sorted((Path(__file__).parent / "cases").glob("*.json"))
PEOPLE = {
    name: Principal(**fields)
    for name, fields in json.loads((Path(__file__).parent / "people.json").read_text()).items()
}
KEY = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

Written = Mapping[str, Any] | str
"""A policy as a row has it."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The whole Decision.

    `statement` is the Sid, or the index of a statement without one; of what is undocumented there
    are the element and the pointer.
    """

    outcome: str
    reason: str
    layer: str | None = None
    statement: str | int | None = None
    not_given: Sequence[str] = ()
    unknown: Sequence[str] = ()
    unknown_keys: Sequence[str] = ()
    undocumented: Sequence[Sequence[str]] = ()
    level: int | None = None
    by_what_was_read: bool | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request and all policies."""

    title: str
    source: str
    expect: Mapping[str, Any]
    principal: str = "execution role's session"
    action: str = "kms:Decrypt"
    resource: str = KEY
    resource_account: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    absent: Sequence[str] | None = None
    identity: Sequence[Written] | None = ()
    key_policy: Sequence[Written] | None = ()
    trust_policy: Sequence[Written] | None = None
    grants: Sequence[Mapping[str, Any]] | None = ()
    boundary: Sequence[Written] | None = ()
    session: Sequence[Written] | None = ()
    service_control: Sequence[Sequence[Written]] | None = ()
    resource_control: Sequence[Sequence[Written]] | None = ()

    def request(self) -> Request:
        return Request(
            PEOPLE[self.principal],
            self.action,
            self.resource,
            self.context,
            self.resource_account,
            self.absent,
        )

    def policies(self, named: Mapping[str, Any]) -> Policies:
        def layer(written: Sequence[Written] | None, kind: PolicyKind) -> list[Policy] | None:
            return None if written is None else list(parsed(written, kind, named))

        def levels(
            written: Sequence[Sequence[Written]] | None, kind: PolicyKind
        ) -> list[list[Policy]] | None:
            if written is None:
                return None
            return [list(parsed(level, kind, named)) for level in written]

        return Policies(
            identity=layer(self.identity, "identity"),
            resource=layer(self.key_policy, "resource")
            if self.trust_policy is None
            else layer(self.trust_policy, "trust"),
            grants=None if self.grants is None else [grant(**each) for each in self.grants],
            boundary=layer(self.boundary, "identity"),
            session=layer(self.session, "identity"),
            service_control=levels(self.service_control, "service_control"),
            resource_control=levels(self.resource_control, "resource_control"),
        )


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """A document, as JSON text or as a value, and AWS's reason to refuse it, with the place."""

    title: str
    source: str
    kind: PolicyKind
    document: Any
    malformed: str
    pointer: str
    line: int | None = None


def grant(
    *,
    grantee: str,
    operations: Sequence[str],
    subset: Mapping[str, str] | None = None,
    equals: Mapping[str, str] | None = None,
    key: str = KEY,
) -> Grant:
    return Grant("the grant", grantee, frozenset(operations), subset, equals, key)


def parsed(
    written: Iterable[Written], kind: PolicyKind, named: Mapping[str, Any]
) -> Iterator[Policy]:
    for each in written:
        name = each if isinstance(each, str) else kind
        document = named[each] if isinstance(each, str) else each
        if "Statement" not in document:
            document = {"Version": "2012-10-17", "Statement": [document]}
        yield parse_policy(document, kind=kind, name=name)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One file."""

    about: str
    cases: Sequence[Mapping[str, Any]]
    policies: Mapping[str, Any] = field(default_factory=dict)


def rows() -> Iterator[Any]:
    for path in FILES:
        topic = Topic(**json.loads(path.read_text()))
        for row in topic.cases:
            case = Malformed(**row) if "malformed" in row else Question(**row)
            yield pytest.param(case, topic.policies, id=f"{path.stem}: {case.title}")


@pytest.mark.parametrize(("case", "named"), list(rows()))
def test_case(case: Question | Malformed, named: Mapping[str, Any]) -> None:
    assert case.source.startswith("https://docs.aws.amazon.com/")
    if isinstance(case, Malformed):
        with pytest.raises(MalformedPolicy) as refused:
            parse_policy(case.document, kind=case.kind, name="the policy")
        assert (refused.value.pointer, refused.value.reason) == (case.pointer, case.malformed)
        assert case.line in (None, refused.value.line)
        return
    policies = case.policies(named)
    expected = Expected(**case.expect)
    decision = decide(case.request(), policies)
    reference = decision.statement
    statement = None if reference is None else reference.sid or reference.index
    assert (decision.outcome.value, decision.reason, decision.layer, statement) == (
        expected.outcome,
        expected.reason,
        expected.layer,
        expected.statement,
    )
    assert decision.not_given == tuple(expected.not_given)
    assert decision.unknown == tuple(expected.unknown)
    assert decision.unknown_keys == tuple(expected.unknown_keys)
    found = [[doubt.element, doubt.pointer] for doubt in decision.undocumented]
    assert found == list(expected.undocumented)
    assert decision.level == expected.level
    allowed = expected.outcome == "ALLOWED"
    assert decision.allowed_by_what_was_read is (
        allowed if expected.by_what_was_read is None else expected.by_what_was_read
    )
    if expected.message is not None:
        assert denied_message(decision, case.request()) == expected.message


def test_titles_are_unique() -> None:
    titles = [each.id for each in rows()]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("row", [{"principle": "x"}, {"expect": {}, "kind": "identity"}])
def test_an_unknown_field_of_a_row_is_an_error(row: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        Question(title="", source="", **{"expect": {}, **row})
