"""K01 and K02: who could change the key policy under it. Decided, not read off the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from iamaccess.context import derived
from iamaccess.decide import decide
from iamaccess.documents import parse_policy
from iamaccess.lint.parts import Aim, Part
from iamaccess.lint.rules import Found, error, note, warning
from iamaccess.model import Outcome, Policies, Policy, Principal, Request

Caller = tuple[Principal, Policies]
_NO_OTHERS: Final = Policies(
    identity=(), grants=(), boundary=(), session=(), service_control=(), resource_control=()
)
_EVERYTHING: Final = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


def k01(
    policy: Policy, statements: Sequence[Part], aim: Aim, account: str | None
) -> Iterator[Found]:
    """Nobody could change the key policy any more."""
    key = aim.key_arn or _some_key(statements, account)
    if key is None:
        why = "Whether anybody could still change it is not decided: it names no account."
        yield note("", why, "Give the key by its ARN.")
        return
    callers = aim.callers or list(_whoever(statements, key, account))
    names = ", ".join(who.arn for who, _ in aim.callers)
    outcomes = {_may_change(policy, key, one) for one in callers}
    if Outcome.ALLOWED in outcomes:
        return
    if Outcome.UNKNOWN in outcomes:
        why = f"Whether {names or 'anybody'} could still call kms:PutKeyPolicy is not known."
        yield warning("", why, "Let an administrator do it without conditions.")
        return
    why = f"{names} could not" if names else "Nobody could"
    refused = "." if names else ": KMS refuses such a policy."
    yield error("", f"{why} call kms:PutKeyPolicy any more{refused}", _delegate(key))


def k02(
    policy: Policy, statements: Sequence[Part], aim: Aim, account: str | None
) -> Iterator[Found]:
    """IAM policies cannot give access, so that the key hangs on the principals that are named."""
    key = aim.key_arn or _some_key(statements, account)
    if key is None or account is None:
        return
    if _may_change(policy, key, _administrator(key, account)) is Outcome.DENIED:
        yield warning(
            "",
            "It does not let the account's IAM policies give kms:PutKeyPolicy: where the "
            "principals that it names are gone, nobody controls the key.",
            _delegate(key),
        )


def _delegate(key: str) -> str:
    _, partition, _, _, account, _ = key.split(":", 5)
    root = f"arn:{partition}:iam::{account}:root"
    return f'Add a statement that allows kms:* to {root} on Resource "*".'


def _may_change(policy: Policy, key: str, caller: Caller) -> Outcome:
    who, own = caller
    request = Request(who, "kms:PutKeyPolicy", key, absent=())  # what else it has is not known
    request = replace(request, context=derived(request))
    return decide(request, replace(own, resource=[policy])).outcome


def _administrator(key: str, account: str) -> Caller:
    """A user that no key policy names, and whose own policies allow everything."""
    arn = f"arn:{key.split(':')[1]}:iam::{account}:user/whom-nobody-names/any.administrator"
    everything = parse_policy(_EVERYTHING, kind="identity")
    return Principal("user", arn, account), replace(_NO_OTHERS, identity=[everything])


def _whoever(statements: Sequence[Part], key: str, account: str | None) -> Iterator[Caller]:
    """Who might: the root user, an administrator by IAM, and whom of the account it names.

    PutKeyPolicy is for the key's own account.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
    """
    own = _NO_OTHERS
    if account:
        administrator = _administrator(key, account)
        own = administrator[1]
        yield administrator
        root = f"arn:{key.split(':')[1]}:iam::{account}:root"
        yield Principal("root", root, account), _NO_OTHERS
    for part in statements:
        for kind, text in part.principals():
            fields = text.value.split(":", 5)
            if len(fields) == 6 and account not in (None, fields[4]):
                continue
            if kind == "Service":
                yield Principal("service", text.value, None), _NO_OTHERS
            elif len(fields) == 6 and fields[5].startswith("user/"):
                yield Principal("user", text.value, fields[4]), own
            elif len(fields) == 6 and fields[5].startswith("role/"):
                yield Principal("role", text.value, fields[4]), own
            elif len(fields) == 6 and fields[5].startswith("assumed-role/"):
                yield Principal("session", text.value, fields[4]), own


def _some_key(statements: Sequence[Part], account: str | None) -> str | None:
    """The key that the document names, or one of the account."""
    named = [text.value for part in statements for text in part.texts("Resource")]
    for name in named:
        if re.fullmatch(r"arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+", name):
            return name
    if account is None:
        return None
    named += [text.value for part in statements for _, text in part.principals()]
    partitions = [
        found[1] for found in (re.match(r"arn:([a-z-]+):", one) for one in named) if found
    ]
    partition = partitions[0] if partitions else "aws"
    return f"arn:{partition}:kms:us-east-1:{account}:key/00000000-0000-0000-0000-000000000000"
