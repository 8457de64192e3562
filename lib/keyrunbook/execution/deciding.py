"""What `runbook access decide` does: requests as JSON, each decided and explained.

Pure: lines of text in, answers out. A layer that is not given, or null, is not known; an empty list
is known to be none. The judge is `iamaccess`, which compiles each distinct document once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from iamaccess import (
    ContextValue,
    Grant,
    MalformedPolicy,
    Outcome,
    Policies,
    Policy,
    Principal,
    Request,
    decide,
    parse_policy,
)
from iamaccess.context import derived
from iamaccess.explain import explain
from iamaccess.model import PolicyKind
from iamaccess.places import escape, lines, nearest_line

from keyrunbook.errors import ParameterError

FIELDS: Final[Mapping[str, str]] = {
    "principal": "who asks: an ARN of a root user, user, role or session, the name of a service or "
    "of an identity provider, or * for nobody that AWS knows",
    "action": "what, such as kms:Decrypt",
    "resource": "on what: an ARN, or * for actions without one",
    "context": "the request's condition keys, each a string, number, boolean or list of strings",
    "identity_policies": "a list of documents: inline, managed and of the user's groups",
    "resource_policy": "the key policy (or, for sts:AssumeRole, the role's trust policy)",
    "permissions_boundary": "a document",
    "session_policy": "a document",
    "service_control_policies": "a list of levels, root first, each a list of documents",
    "resource_control_policies": "a list of levels, root first, each a list of documents",
    "grants": "the key's grants, as kms:ListGrants gives them",
    "principal_tags": "the tags of the user, role or session, each a string",
    "role_arn": "a session's role, whose path its own ARN lacks",
    "absent": "condition keys that the request is known to lack",
}
"""The fields of a request, each optional but the first three."""
_NEEDED: Final = ("principal", "action", "resource")
_GRANT: Final = frozenset(
    {
        *("Constraints", "CreationDate", "GrantId", "GranteePrincipal", "GranteeServicePrincipal"),
        *("IssuingAccount", "KeyId", "Name", "Operations", "RetiringPrincipal"),
        "RetiringServicePrincipal",
    }
)
"""Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantListEntry.html"""


class BadInput(ParameterError):
    """A line of the input is no request; `what` names the line and the place in it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to."""

    outcome: Outcome
    reason: str
    layer: str | None
    statement: Mapping[str, Any] | None
    unknown: tuple[str, ...]
    """Layers and condition keys that were not told, and what AWS does not document."""
    explanation: str

    def to_json(self) -> str:
        """The answer as one line of JSON."""
        return json.dumps(
            {
                "outcome": self.outcome.value,
                "reason": self.reason,
                "layer": self.layer,
                "statement": self.statement,
                "unknown": self.unknown,
                "explanation": self.explanation,
            }
        )


def answers(source: Iterable[str], *, complete: bool = False) -> Iterator[Answer]:
    """Decide each request of JSON Lines, or the one of a JSON object on many lines.

    `complete`: what is not given, layer or condition key, does not exist.
    Raises BadInput at the first line that is no request.
    """
    for line, found in _requests(source):
        try:
            request, policies = read(found, complete=complete)
        except _Wrong as wrong:
            place = f"line {line(wrong.pointer)}, {wrong.pointer or 'the whole object'}"
            raise BadInput(f"{place}: {wrong.reason}", wrong.fix) from None
        yield answer(request, policies)


def answer(request: Request, policies: Policies) -> Answer:
    """Decide and explain one request."""
    decision = decide(request, policies)
    by = decision.statement
    return Answer(
        decision.outcome,
        decision.reason,
        decision.layer,
        None if by is None else {"policy": by.policy, "sid": by.sid, "index": by.index},
        (
            *decision.unknown,
            *decision.unknown_keys,
            *(each.element for each in decision.undocumented),
        ),
        str(explain(request, policies, decision)),
    )


class _Wrong(Exception):
    """What is wrong at a place of one request."""

    def __init__(self, pointer: str, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.pointer, self.reason, self.fix = pointer, reason, fix


_Line = Callable[[str], int]
"""The line of a JSON pointer."""


def _requests(source: Iterable[str]) -> Iterator[tuple[_Line, Any]]:
    """Each object of the input, a line each; one that goes over many lines is the only one."""
    numbered = enumerate(source, 1)
    first, text = next(((n, text) for n, text in numbered if text.strip()), (1, ""))
    if not text:
        raise BadInput("line 1: there is no request.", "Write one JSON object a line.")
    try:
        found = _load(text)
    except json.JSONDecodeError:
        whole = "".join((text, *(line for _, line in numbered)))
        found, places = _loaded(whole, first), lines(whole)
        yield (lambda pointer: first - 1 + nearest_line(places, pointer)), found
        return
    except (ValueError, RecursionError):
        found = _loaded(text, first)  # says which it is
    yield (lambda _: first), found
    for number, text in numbered:
        if text.strip():
            yield _at(number), _loaded(text, number)


def _at(number: int) -> _Line:
    return lambda _: number


class _Unreadable(ValueError):
    """JSON that Python's parser takes and that says nothing definite."""


def _load(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)


def _loaded(text: str, first: int) -> Any:
    """The value of `text`, which begins on line `first`; BadInput where it is no JSON."""
    try:
        return _load(text.rstrip())  # what is cut off ends on its own line
    except json.JSONDecodeError as error:
        place = f"line {first - 1 + error.lineno}, column {error.colno}"
        raise BadInput(
            f"{place}: not JSON: {error.msg}.",
            "Write one JSON object a line, or one object on several.",
        ) from None
    except ValueError as error:
        raise BadInput(f"line {first}: {error}", "Mend that line.") from None
    except RecursionError:
        raise BadInput(f"line {first}: nested too deeply.", "Mend that line.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Unreadable(f"{twice!r} is there twice in one object.")
    return found


def _constant(text: str) -> Any:
    raise _Unreadable(f"{text} is not JSON.")


def read(found: Any, *, complete: bool = False) -> tuple[Request, Policies]:
    """The request, and the policies, that one JSON object describes."""
    if not isinstance(found, dict):
        raise _Wrong("", "a request is a JSON object.", "Write one object a line.")
    for name in found:
        if name not in FIELDS:
            raise _Wrong(f"/{escape(name)}", "unknown field.", f"Valid are {', '.join(FIELDS)}.")
    for name in _NEEDED:
        if not isinstance(found.get(name), str):
            pointer = f"/{name}" if name in found else ""
            raise _Wrong(pointer, f"{name} is missing, or no string.", f"Give {name} as a string.")
    request = _request(found, complete)
    kind: PolicyKind = (
        "trust" if request.action.lower().startswith("sts:assumerole") else "resource"
    )
    none: Any = () if complete else None

    def layer(name: str, what: str, kind: PolicyKind = "identity") -> Sequence[Policy] | None:
        written = found.get(name)
        return none if written is None else _documents(written, f"/{name}", what, kind)

    def levels(name: str, what: str, kind: PolicyKind) -> Sequence[Sequence[Policy]] | None:
        written = found.get(name)
        if written is None:
            return [] if complete else None
        return [
            _documents(
                _list(level, f"/{name}/{index}", "a level, a list of documents"),
                *(f"/{name}/{index}", f"{what} of level {index + 1}", kind),
            )
            for index, level in enumerate(_list(written, f"/{name}", "a list of levels"))
        ]

    return request, Policies(
        identity=layer("identity_policies", "identity policy"),
        resource=layer(
            "resource_policy", "key policy" if kind == "resource" else "trust policy", kind
        ),
        grants=_grants(found["grants"], request.resource)
        if found.get("grants") is not None
        else none,
        boundary=layer("permissions_boundary", "permissions boundary"),
        session=layer("session_policy", "session policy"),
        service_control=levels("service_control_policies", "SCP", "service_control"),
        resource_control=levels("resource_control_policies", "RCP", "resource_control"),
    )


def _request(found: Mapping[str, Any], complete: bool) -> Request:
    principal = _principal(found["principal"], found.get("role_arn"))
    if not re.fullmatch(r"[A-Za-z0-9-]+:[A-Za-z0-9]+", found["action"]):
        raise _Wrong(
            "/action",
            f"{found['action']!r} is no action.",
            "Write it as kms:Decrypt, no wildcards.",
        )
    if found["resource"] != "*" and not re.match(
        r"arn:[^:]*:[^:]*:[^:]*:[^:]*:.", found["resource"]
    ):
        raise _Wrong(
            "/resource", f"{found['resource']!r} is no ARN.", "Give the resource's ARN, or *."
        )
    context: dict[str, ContextValue] = {
        key: _value(value, f"/context/{escape(key)}")
        for key, value in _mapping(found.get("context"), "/context").items()
    }
    for tag, value in _mapping(found.get("principal_tags"), "/principal_tags").items():
        context[f"aws:PrincipalTag/{tag}"] = _text(value, f"/principal_tags/{escape(tag)}")
    absent = _absent(found, context)
    request = Request(
        principal, found["action"], found["resource"], context, absent=None if complete else absent
    )
    return replace(request, context={**derived(request), **_names(context, complete), **context})


def _absent(found: Mapping[str, Any], context: Mapping[str, ContextValue]) -> list[str]:
    """The condition keys that are known to be absent: those declared, and tags not among the tags.

    Tags are told together: of a tag that a policy asks for and that is not among them one knows
    that the principal has it not.
    """
    declared = found.get("absent")
    listed = [] if declared is None else _list(declared, "/absent", "a list of condition keys")
    absent = [_text(key, f"/absent/{index}") for index, key in enumerate(listed)]
    told = {key.lower() for key in context}
    for index, key in enumerate(absent):
        if key.lower() in told:
            raise _Wrong(f"/absent/{index}", f"{key} is in the context too.", "Leave one out.")
    if found.get("principal_tags") is not None:
        absent += [key for key in _tag_keys(found) if key.lower() not in told]
    return absent


def _tag_keys(value: Any) -> Iterator[str]:
    """The principal's tags that documents ask for, in conditions and in policy variables."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.lower().startswith("aws:principaltag/"):
                yield key
            yield from _tag_keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _tag_keys(inner)
    elif isinstance(value, str):
        yield from re.findall(r"(?i)\$\{\s*(aws:PrincipalTag/[^},]*[^},\s])", value)


def _names(context: Mapping[str, ContextValue], complete: bool) -> dict[str, ContextValue]:
    """kms:EncryptionContextKeys of a request of which all is told: the names of its pairs."""
    prefix = "kms:EncryptionContext:"
    names = [key[len(prefix) :] for key in context if key.lower().startswith(prefix.lower())]
    told = any(key.lower() == "kms:encryptioncontextkeys" for key in context)
    return {"kms:EncryptionContextKeys": names} if complete and names and not told else {}


_IAM = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):(root|user/.+|role/.+)")
_STS = re.compile(
    r"(arn:[a-z-]+):sts::([0-9]{12}):(?:assumed-role/([^/]+)/[^/]+|federated-user/.+)"
)
_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
_PROVIDER = re.compile(
    r"arn:[a-z-]+:iam::[0-9]{12}:(?:saml|oidc)-provider/.+|[a-z0-9-]+(?:\.[a-z0-9-]+)+"
)


def _principal(text: str, role: Any) -> Principal:
    """Who that is. A session's role has no path unless `role` says it."""
    if role is not None and not isinstance(role, str):
        raise _Wrong("/role_arn", "no string.", "Give the role's ARN.")
    if found := _STS.fullmatch(text):
        arn, account, name = found.groups()
        if role is not None and not re.fullmatch(
            rf"arn:[a-z-]+:iam::{account}:role/(?:.+/)?{re.escape(name or '')}", role
        ):
            raise _Wrong("/role_arn", f"{role!r} is not the role of {text}.", "Leave it out.")
        own = None if name is None else f"{arn}:iam::{account}:role/{name}"
        return Principal("session", text, account, role or own)
    if role is not None:
        raise _Wrong("/role_arn", f"{text} is no session of a role.", "Leave it out.")
    if found := _IAM.fullmatch(text):
        kind = found[2].partition("/")[0]
        return Principal(_KINDS[kind], text, found[1])
    if text == "*":
        return Principal("anonymous", "anonymous", None)
    if _SERVICE.fullmatch(text):
        return Principal("service", text, None)
    if _PROVIDER.fullmatch(text):
        return Principal("federated", text, None)
    raise _Wrong("/principal", f"{text!r} is no principal.", f"Give {FIELDS['principal']}.")


_KINDS: Final[Mapping[str, Literal["root", "user", "role"]]] = {
    "root": "root",
    "user": "user",
    "role": "role",
}


def _documents(written: Any, pointer: str, what: str, kind: PolicyKind) -> Sequence[Policy]:
    """A document, or a list of them; each an object, or its text."""
    if not isinstance(written, list):
        return [_document(written, pointer, what, kind)]
    return [
        _document(
            one, f"{pointer}/{index}", f"{what} {index + 1}" if len(written) > 1 else what, kind
        )
        for index, one in enumerate(written)
    ]


def _document(written: Any, pointer: str, name: str, kind: PolicyKind) -> Policy:
    if not isinstance(written, dict | str):
        raise _Wrong(pointer, "no policy document.", "Give the document as an object.")
    try:
        return parse_policy(written, kind=kind, name=name)
    except MalformedPolicy as error:
        reason = f"AWS would refuse it: {error.reason}"
        if isinstance(written, str):
            raise _Wrong(pointer, f"{reason} (at {error.pointer})", "Mend the document.") from None
        raise _Wrong(f"{pointer}{error.pointer}", reason, "Mend the document.") from None


def _grants(written: Any, resource: str) -> Sequence[Grant]:
    """The grants; each lets its retiring principal retire it, too."""
    found = []
    for index, one in enumerate(_list(written, "/grants", "a list of grants")):
        place = f"/grants/{index}"
        grant = _mapping(one, place)
        for name in grant:
            if name not in _GRANT:
                raise _Wrong(f"{place}/{escape(name)}", "unknown field of a grant.", _AS_LISTED)
        grantee = grant.get("GranteePrincipal", grant.get("GranteeServicePrincipal"))
        limits = _mapping(grant.get("Constraints"), f"{place}/Constraints")
        subset, equals = (
            None
            if limits.get(name) is None
            else _pairs(limits[name], f"{place}/Constraints/{name}")
            for name in ("EncryptionContextSubset", "EncryptionContextEquals")
        )
        operations = _list(grant.get("Operations"), f"{place}/Operations", "a list of operations")
        grant_id = _text(grant.get("GrantId", f"grant {index + 1}"), f"{place}/GrantId")
        key_arn = _text(grant.get("KeyId", resource), f"{place}/KeyId")
        found.append(
            Grant(
                grant_id,
                _text(grantee, f"{place}/GranteePrincipal"),
                frozenset(_text(each, f"{place}/Operations") for each in operations),
                subset,
                equals,
                key_arn,
            )
        )
        retiring = grant.get("RetiringPrincipal", grant.get("RetiringServicePrincipal"))
        if retiring is not None:
            who = _text(retiring, f"{place}/RetiringPrincipal")
            found.append(Grant(grant_id, who, frozenset({"RetireGrant"}), None, None, key_arn))
    return found


_AS_LISTED: Final = "Give grants as `aws kms list-grants` prints them."


def _pairs(written: Any, pointer: str) -> dict[str, str]:
    found = _mapping(written, pointer)
    return {name: _text(value, f"{pointer}/{escape(name)}") for name, value in found.items()}


def _mapping(written: Any, pointer: str) -> Mapping[str, Any]:
    if written is None:
        return {}
    if not isinstance(written, dict):
        raise _Wrong(pointer, "no JSON object.", "Give an object.")
    return written


def _list(written: Any, pointer: str, what: str) -> list[Any]:
    if not isinstance(written, list):
        raise _Wrong(pointer, f"expected {what}.", "Write it in brackets: [].")
    return written


def _value(written: Any, pointer: str) -> ContextValue:
    if isinstance(written, list):
        return [_scalar(one, f"{pointer}/{index}") for index, one in enumerate(written)]
    return written if isinstance(written, bool) else _scalar(written, pointer)


def _scalar(written: Any, pointer: str) -> str:
    if isinstance(written, bool):
        return "true" if written else "false"
    if isinstance(written, int | float):
        return json.dumps(written)
    return _text(written, pointer)


def _text(written: Any, pointer: str) -> str:
    if not isinstance(written, str):
        raise _Wrong(pointer, "no string.", "Give a string; a key that is absent is left out.")
    return written
