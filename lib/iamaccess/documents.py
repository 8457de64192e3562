"""From a policy document to a compiled `Policy`, or to the error that AWS would give for it.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from iamaccess.conditions import Quantifier, Test, compile_test, parse_operator
from iamaccess.facts import ENCRYPTION_CONTEXT
from iamaccess.model import MalformedPolicy, Policy, PolicyKind, StatementRef
from iamaccess.patterns import InvalidVariableError, Patterns
from iamaccess.principals import Principals, is_principal
from iamaccess.statements import Statement

_TOP = frozenset({"Version", "Id", "Statement"})
_ELEMENTS = frozenset(
    {
        *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction"),
        *("Resource", "NotResource", "Condition"),
    }
)
_VERSIONS = ("2008-10-17", "2012-10-17")
_PROHIBITED: Mapping[PolicyKind, tuple[str, ...]] = {
    "identity": ("Principal", "NotPrincipal"),
    "resource": (),
    "trust": ("Resource", "NotResource", "NotPrincipal"),
}
_SYNTAX = "Syntax errors in policy."
_TOO_DEEP = f"{_SYNTAX} Nested too deeply."
_INVALID_PRINCIPAL: Mapping[PolicyKind, str] = {
    "identity": "",
    "resource": "Policy contains a statement with one or more invalid principals.",
    "trust": "AssumeRolepolicy contained an invalid principal.",
}


def parse_policy(document: str | Mapping[str, Any], *, kind: PolicyKind, name: str = "") -> Policy:
    """Parse and compile a policy document; the same text is compiled once.

    `kind`: "identity" has no principals and plain Sids; "resource" (a key policy) may have spaces
    in Sids, and statements without Action or Resource, which have no effect; "trust" has no
    resources. A statement whose list of actions, resources or principals is empty has no effect.
    What is legal and not supported is kept, for `decide` to raise where it matters.

    Raises: MalformedPolicy, with the JSON pointer to the place; TypeError for a mapping that holds
    what JSON has not.
    Sources: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html
    """
    return _parse_text(document if isinstance(document, str) else _text(document), kind, name)


def _text(document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(document))
    except RecursionError:
        raise MalformedPolicy(_TOO_DEEP) from None


@functools.lru_cache(maxsize=1024)
def _parse_text(text: str, kind: PolicyKind, name: str) -> Policy:
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedPolicy(f"{_SYNTAX} Not valid JSON: {error.msg}, {place}") from None
    except MalformedPolicy:
        raise
    except ValueError as error:  # An integer of thousands of digits.
        raise MalformedPolicy(f"{_SYNTAX} A number cannot be read: {error}") from None
    except RecursionError:
        raise MalformedPolicy(_TOO_DEEP) from None
    return _compile(document, kind, name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise MalformedPolicy(f"{_SYNTAX} {twice!r} is there twice in one object.")
    return found


def _constant(text: str) -> NoReturn:
    raise MalformedPolicy(f"{_SYNTAX} {text} is not JSON.")


def _compile(document: Any, kind: PolicyKind, name: str) -> Policy:
    if not isinstance(document, dict):
        raise MalformedPolicy(f"{_SYNTAX} A policy is a JSON object.")
    _refuse_unknown(document, _TOP, "")
    version = document.get("Version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise MalformedPolicy(
            "The policy must contain a valid version string: 2012-10-17 or 2008-10-17.", "/Version"
        )
    if not isinstance(document.get("Id", ""), str):
        raise MalformedPolicy(f"{_SYNTAX} Id must be a string.", "/Id")
    written = document.get("Statement", [])
    if written == []:
        raise MalformedPolicy(f"{_SYNTAX} The policy has no Statement.")
    listed = isinstance(written, list)
    compiler = _Compiler(kind, name, variables=version == _VERSIONS[1])
    statements = tuple(
        compiler.statement(each, index, f"/Statement/{index}" if listed else "/Statement")
        for index, each in enumerate(written if listed else [written])
    )
    if kind != "resource":
        _refuse_repeated_sids(statements)
    effective = tuple(statement for statement in statements if not statement.void)
    return Policy(name, kind, document, effective)


def _refuse_unknown(found: Mapping[str, Any], known: frozenset[str], pointer: str) -> None:
    for element in found:
        if element not in known:
            raise MalformedPolicy(
                f"{_SYNTAX} Unknown element {element!r}; valid are {', '.join(sorted(known))}.",
                f"{pointer}/{_escape(element)}",
            )


def _refuse_repeated_sids(statements: Sequence[Statement]) -> None:
    seen: set[str] = set()
    for statement in statements:
        sid = statement.ref.sid
        if sid and sid in seen:
            raise MalformedPolicy(
                "Statement IDs (SID) in a single policy must be unique.", f"{statement.pointer}/Sid"
            )
        seen.add(sid or "")


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Compiles the statements of one policy. `variables`: its Version has policy variables."""

    kind: PolicyKind
    name: str
    variables: bool

    def statement(self, written: Any, index: int, pointer: str) -> Statement:
        if not isinstance(written, dict):
            raise MalformedPolicy(f"{_SYNTAX} A statement is a JSON object.", pointer)
        _refuse_unknown(written, _ELEMENTS, pointer)
        for element in _PROHIBITED[self.kind]:
            if element in written:
                raise MalformedPolicy(f"Has prohibited field {element}", f"{pointer}/{element}")
        allow = self._effect(written, pointer)
        unsupported: list[tuple[str, str]] = []
        action = self._either(written, "Action", pointer)
        resource = None if self.kind == "trust" else self._either(written, "Resource", pointer)
        principal = None if self.kind == "identity" else self._principal(written, pointer)
        if principal == "NotPrincipal" and allow:
            unsupported.append(("NotPrincipal with Allow", f"{pointer}/NotPrincipal"))
        condition = written.get("Condition", {})
        if "Condition" in written and condition == {}:
            unsupported.append(("an empty Condition", f"{pointer}/Condition"))
        return Statement(
            ref=StatementRef(self.name, self._sid(written, pointer), index),
            pointer=f"{pointer}/{principal}" if principal == "NotPrincipal" else pointer,
            allow=allow,
            principals=self._principals(written, principal, pointer, unsupported),
            not_principal=principal == "NotPrincipal",
            actions=self._actions(written, action, pointer),
            not_action=action == "NotAction",
            resources=self._resources(written, resource, pointer),
            not_resource=resource == "NotResource",
            tests=self._tests(condition, f"{pointer}/Condition", unsupported),
            unsupported=tuple(unsupported),
        )

    def _effect(self, written: Mapping[str, Any], pointer: str) -> bool:
        effect = written.get("Effect")
        if effect not in ("Allow", "Deny"):
            place = f"{pointer}/Effect" if "Effect" in written else pointer
            raise MalformedPolicy(f'{_SYNTAX} Effect must be "Allow" or "Deny".', place)
        return bool(effect == "Allow")

    def _sid(self, written: Mapping[str, Any], pointer: str) -> str | None:
        sid = written.get("Sid")
        if sid is None and "Sid" not in written:
            return None
        if not isinstance(sid, str):
            raise MalformedPolicy(f"{_SYNTAX} Sid must be a string.", f"{pointer}/Sid")
        if self.kind != "resource" and not re.fullmatch(r"[A-Za-z0-9]*", sid):
            raise MalformedPolicy(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the "
                "regular expression [0-9A-Za-z]*",
                f"{pointer}/Sid",
            )
        return sid

    def _either(self, written: Mapping[str, Any], element: str, pointer: str) -> str | None:
        """`Action` or `NotAction`, whichever is there; None for neither, where that is legal."""
        present = [each for each in (element, f"Not{element}") if each in written]
        if len(present) == 2:
            raise MalformedPolicy(
                f"{_SYNTAX} A statement has {element} or Not{element}, not both.",
                f"{pointer}/Not{element}",
            )
        if present:
            return present[0]
        if self.kind == "resource" and element != "Principal":
            return None
        missing = {
            "Action": "Policy statement must contain actions.",
            "Resource": "Policy statement must contain resources.",
            "Principal": f"{_SYNTAX} Policy statement must contain a principal.",
        }
        raise MalformedPolicy(missing[element], pointer)

    def _actions(self, written: Mapping[str, Any], element: str | None, pointer: str) -> Patterns:
        texts = _strings(written[element], f"{pointer}/{element}") if element else {}
        for place, text in texts.items():
            if self.kind == "identity" and text != "*" and ":" not in text:
                raise MalformedPolicy(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
                    place,
                )
            if self.kind == "trust" and not text.lower().startswith("sts:"):
                raise MalformedPolicy(
                    "AssumeRole policy may only specify STS AssumeRole actions.", place
                )
        lowered = [text.lower() for text in texts.values()]
        return Patterns(lowered, style="glob", variables=False)

    def _resources(
        self, written: Mapping[str, Any], element: str | None, pointer: str
    ) -> Patterns | None:
        if self.kind == "trust":
            return None
        texts = _strings(written[element], f"{pointer}/{element}") if element else {}
        for place, text in texts.items():
            if self.kind == "identity" and text != "*" and not text.startswith("arn:"):
                raise MalformedPolicy(f'Resource {text} must be in ARN format or "*".', place)
        return self._patterns(texts)

    def _patterns(self, texts: Mapping[str, str]) -> Patterns:
        for place, text in texts.items():
            try:
                Patterns([text], style="glob", variables=self.variables)
            except InvalidVariableError as error:
                raise MalformedPolicy(
                    f"The policy contains an invalid policy variable: {error}", place
                ) from None
        return Patterns(texts.values(), style="glob", variables=self.variables)

    def _principal(self, written: Mapping[str, Any], pointer: str) -> str | None:
        return self._either(written, "Principal", pointer)

    def _principals(
        self,
        written: Mapping[str, Any],
        element: str | None,
        pointer: str,
        unsupported: list[tuple[str, str]],
    ) -> Principals | None:
        if element is None:
            return None
        place = f"{pointer}/{element}"
        value = written[element]
        if value == "*":
            return Principals(["*"], [])
        if not isinstance(value, dict):
            raise MalformedPolicy(_INVALID_PRINCIPAL[self.kind], place)
        names = {kind: _strings(value[kind], f"{place}/{_escape(kind)}") for kind in value}
        for kind in names:
            if kind not in ("AWS", "Service", "Federated", "CanonicalUser"):
                raise MalformedPolicy(_INVALID_PRINCIPAL[self.kind], f"{place}/{_escape(kind)}")
        for where, name in names.get("AWS", {}).items():
            if not is_principal(name):
                raise MalformedPolicy(_INVALID_PRINCIPAL[self.kind], where)
        for where, name in names.get("Service", {}).items():
            if "*" in name or "." not in name:
                raise MalformedPolicy(_INVALID_PRINCIPAL[self.kind], where)
        # A role's trust policy names them for other operations than AssumeRole.
        strangers = () if self.kind == "trust" else ("Federated", "CanonicalUser")
        return Principals(
            names.get("AWS", {}).values(),
            names.get("Service", {}).values(),
            unknown=next((kind for kind in strangers if names.get(kind)), None),
        )

    def _tests(
        self, written: Any, pointer: str, unsupported: list[tuple[str, str]]
    ) -> tuple[Test, ...]:
        if not isinstance(written, dict):
            raise MalformedPolicy(f"{_SYNTAX} Condition is a JSON object.", pointer)
        for operator, keys in written.items():
            if keys == {}:
                place = f"{pointer}/{_escape(operator)}"
                unsupported.append((f"condition operator {operator} without keys", place))
        return tuple(
            test
            for operator, keys in written.items()
            for test in self._operator(operator, keys, f"{pointer}/{_escape(operator)}")
        )

    def _operator(self, text: str, keys: Any, pointer: str) -> list[Test]:
        operator = parse_operator(text)
        if operator is None:
            raise MalformedPolicy(f"{_SYNTAX} Unknown condition operator {text!r}.", pointer)
        if not isinstance(keys, dict):
            raise MalformedPolicy(f"{_SYNTAX} {text} is a JSON object.", pointer)
        tests: list[Test] = []
        for key, value in keys.items():
            place = f"{pointer}/{_escape(key)}"
            if self.kind == "resource" and operator.quantifier is not None:
                _refuse_overly_permissive(operator.quantifier, key, place)
            values = _strings(value, place, scalars=True)
            try:
                test = compile_test(
                    operator, key, [*values.values()], variables=self.variables, pointer=place
                )
            except InvalidVariableError as error:
                raise MalformedPolicy(
                    f"The policy contains an invalid policy variable: {error}", place
                ) from None
            tests.append(test)
        return tests


def _refuse_overly_permissive(quantifier: Quantifier, key: str, pointer: str) -> None:
    """KMS refuses set operators with a single-valued key; of tags it names ForAllValues only.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
    """
    if key.lower().startswith(ENCRYPTION_CONTEXT):
        what = "encryption context"
    elif key.lower().startswith("aws:requesttag/") and quantifier == "ForAllValues":
        what = "tag"
    else:
        return
    raise MalformedPolicy(
        f"OverlyPermissiveCondition: Using the {quantifier} set operator with a single-valued "
        f"condition key matches requests without the specified {what} or with an unspecified "
        f"{what}. To fix, remove {quantifier}.",
        pointer,
    )


def _strings(value: Any, pointer: str, *, scalars: bool = False) -> dict[str, str]:
    """A string or a list of them, by JSON pointer. `scalars`: numbers and booleans too."""
    places = (
        {f"{pointer}/{index}": each for index, each in enumerate(value)}
        if isinstance(value, list)
        else {pointer: value}
    )
    return {place: _string(each, place, scalars=scalars) for place, each in places.items()}


def _string(value: Any, pointer: str, *, scalars: bool) -> str:
    if isinstance(value, str):
        return value
    if scalars and isinstance(value, bool):
        return "true" if value else "false"
    if scalars and isinstance(value, int | float):
        return json.dumps(value)
    raise MalformedPolicy(f"{_SYNTAX} A string is expected here.", pointer)


def _escape(token: str) -> str:
    """A reference token of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")
