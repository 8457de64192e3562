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
from iamaccess.places import doubled, escape, line_of, line_of_word
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
    "service_control": ("Principal", "NotPrincipal"),
    "resource_control": ("NotPrincipal", "NotAction"),
}
_CONTROLS = ("service_control", "resource_control")
_WITHOUT_PRINCIPAL = ("identity", "service_control")
_SYNTAX = "Syntax errors in policy."
_ORGANIZATION = (
    "The provided policy document does not meet the requirements of the specified policy type."
)
_INVALID_PRINCIPAL: Mapping[PolicyKind, str] = {
    "identity": "",
    "resource": "Policy contains a statement with one or more invalid principals.",
    "trust": "AssumeRolepolicy contained an invalid principal.",
    "service_control": "",
    "resource_control": f'{_ORGANIZATION} Principal must be "*".',
}


def parse_policy(document: str | Mapping[str, Any], *, kind: PolicyKind, name: str = "") -> Policy:
    """Parse and compile a policy document; the same text is compiled once.

    `kind`: "identity" has no principals and plain Sids; "resource" (a key policy) may have spaces
    in Sids, and statements without Action or Resource, which have no effect; "trust" has no
    resources. A statement whose list of actions, resources or principals is empty has no effect.
    What is legal and not documented is kept, for `decide` to name it where it matters.

    "service_control" is as "identity" is; "resource_control" denies to everyone, but for
    RCPFullAWSAccess.

    Raises: MalformedPolicy, with the JSON pointer to the place and, of a text, the line; TypeError
    for a mapping that holds what JSON has not.
    Sources: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html
    https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_syntax.html
    https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps_syntax.html
    """
    if not isinstance(document, str):
        return _parse_text(_text(document), kind, name)
    try:
        return _parse_text(document, kind, name)
    except _NotJson as error:
        raise error.placed(document) from None
    except MalformedPolicy as error:
        line = line_of(document, error.pointer)
        raise MalformedPolicy(error.reason, error.pointer, line) from None


def _text(document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(document))
    except RecursionError:
        raise MalformedPolicy(f"{_SYNTAX} Nested too deeply.") from None


class _NotJson(MalformedPolicy):
    """A text that is no JSON, or that JSON gives no single meaning.

    `word`: a bare word that JSON has not; `doubled`: an object has a key twice.
    """

    def __init__(
        self, reason: str, line: int | None = None, *, word: str = "", doubled: bool = False
    ) -> None:
        super().__init__(f"{_SYNTAX} {reason}")
        self._line, self._word, self._doubled = line, word, doubled

    def placed(self, text: str) -> MalformedPolicy:
        """The same error, with its place in the text where that is known."""
        pointer, line = "", self._line
        if self._word:
            line = line_of_word(text, self._word)
        if self._doubled:
            pointer, line = doubled(text)
        return MalformedPolicy(self.reason, pointer, line)


@functools.lru_cache(maxsize=1024)
def _parse_text(text: str, kind: PolicyKind, name: str) -> Policy:
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _NotJson(f"Not valid JSON: {error.msg}, {place}", error.lineno) from None
    except MalformedPolicy:
        raise
    except ValueError as error:  # An integer of thousands of digits.
        raise _NotJson(f"A number cannot be read: {error}") from None
    except RecursionError:
        raise _NotJson("Nested too deeply.") from None
    return _compile(document, kind, name)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise _NotJson(f"{twice!r} is there twice in one object.", doubled=True)
    return found


def _constant(text: str) -> NoReturn:
    raise _NotJson(f"{text} is not JSON.", word=text)


def _compile(document: Any, kind: PolicyKind, name: str) -> Policy:
    if not isinstance(document, dict):
        raise MalformedPolicy(f"{_SYNTAX} A policy is a JSON object.")
    _refuse_unknown(document, _TOP, "")
    version = document.get("Version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise MalformedPolicy(
            "The policy must contain a valid version string: 2012-10-17 or 2008-10-17.", "/Version"
        )
    if kind in _CONTROLS and version != _VERSIONS[1]:
        place = "/Version" if "Version" in document else ""
        raise MalformedPolicy(f"{_ORGANIZATION} Version must be 2012-10-17.", place)
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
    if kind in ("identity", "trust"):
        _refuse_repeated_sids(statements)
    effective = tuple(statement for statement in statements if not statement.void)
    return Policy(name, kind, document, effective)


def _refuse_unknown(found: Mapping[str, Any], known: frozenset[str], pointer: str) -> None:
    for element in found:
        if element not in known:
            raise MalformedPolicy(
                f"{_SYNTAX} Unknown element {element!r}; valid are {', '.join(sorted(known))}.",
                f"{pointer}/{escape(element)}",
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
        undocumented: list[tuple[str, str]] = []
        action = self._either(written, "Action", pointer)
        resource = None if self.kind == "trust" else self._either(written, "Resource", pointer)
        principal = (
            None if self.kind in _WITHOUT_PRINCIPAL else self._either(written, "Principal", pointer)
        )
        if self.kind == "resource_control":
            _refuse_other_allow(written, pointer)
        condition = written.get("Condition", {})
        if "Condition" in written and condition == {}:
            undocumented.append(("an empty Condition", f"{pointer}/Condition"))
        return Statement(
            ref=StatementRef(self.name, self._sid(written, pointer), index),
            pointer=f"{pointer}/{principal}" if principal == "NotPrincipal" else pointer,
            allow=allow,
            principals=self._principals(written, principal, pointer, undocumented),
            not_principal=principal == "NotPrincipal",
            actions=self._actions(written, action, pointer),
            not_action=action == "NotAction",
            resources=self._resources(written, resource, pointer),
            not_resource=resource == "NotResource",
            tests=self._tests(condition, f"{pointer}/Condition", undocumented),
            undocumented=tuple(undocumented),
        )

    def _effect(self, written: Mapping[str, Any], pointer: str) -> bool:
        effect = written.get("Effect")
        if effect not in ("Allow", "Deny"):
            place = f"{pointer}/Effect" if "Effect" in written else pointer
            raise MalformedPolicy(f'{_SYNTAX} Effect must be "Allow" or "Deny".', place)
        return bool(effect == "Allow")

    def _sid(self, written: Mapping[str, Any], pointer: str) -> str | None:
        if "Sid" not in written:
            return None
        sid = written["Sid"]
        if not isinstance(sid, str):
            raise MalformedPolicy(f"{_SYNTAX} Sid must be a string.", f"{pointer}/Sid")
        if self.kind in ("identity", "trust") and not re.fullmatch(r"[A-Za-z0-9]*", sid):
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
            if self.kind in _WITHOUT_PRINCIPAL and text != "*" and ":" not in text:
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
            if self.kind in _WITHOUT_PRINCIPAL and text != "*" and not text.startswith("arn:"):
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

    def _principals(
        self,
        written: Mapping[str, Any],
        element: str | None,
        pointer: str,
        undocumented: list[tuple[str, str]],
    ) -> Principals | None:
        if element is None:
            return None
        place = f"{pointer}/{element}"
        value = written[element]
        if value == "*":
            return Principals(["*"], [])
        if not isinstance(value, dict) or (
            self.kind == "resource_control" and value not in ({"AWS": "*"}, {"AWS": ["*"]})
        ):
            raise MalformedPolicy(_INVALID_PRINCIPAL[self.kind], place)
        names = {kind: _strings(value[kind], f"{place}/{escape(kind)}") for kind in value}
        for kind in names:
            if kind not in ("AWS", "Service", "Federated", "CanonicalUser"):
                raise MalformedPolicy(_INVALID_PRINCIPAL[self.kind], f"{place}/{escape(kind)}")
        for where, name in names.get("AWS", {}).items():
            if not is_principal(name):
                raise MalformedPolicy(_INVALID_PRINCIPAL[self.kind], where)
        for where, name in names.get("Service", {}).items():
            if "*" in name or "." not in name:
                raise MalformedPolicy(_INVALID_PRINCIPAL[self.kind], where)
        # A role's trust policy names them for those who are not of an account yet.
        strangers = () if self.kind == "trust" else ("CanonicalUser", "Federated")
        return Principals(
            names.get("AWS", {}).values(),
            names.get("Service", {}).values(),
            names.get("Federated", {}).values(),
            unknown=next((kind for kind in strangers if names.get(kind)), None),
        )

    def _tests(
        self, written: Any, pointer: str, undocumented: list[tuple[str, str]]
    ) -> tuple[Test, ...]:
        if not isinstance(written, dict):
            raise MalformedPolicy(f"{_SYNTAX} Condition is a JSON object.", pointer)
        for operator, keys in written.items():
            if keys == {}:
                place = f"{pointer}/{escape(operator)}"
                undocumented.append((f"condition operator {operator} without keys", place))
        return tuple(
            test
            for operator, keys in written.items()
            for test in self._operator(operator, keys, f"{pointer}/{escape(operator)}")
        )

    def _operator(self, text: str, keys: Any, pointer: str) -> list[Test]:
        operator = parse_operator(text)
        if operator is None:
            raise MalformedPolicy(f"{_SYNTAX} Unknown condition operator {text!r}.", pointer)
        if not isinstance(keys, dict):
            raise MalformedPolicy(f"{_SYNTAX} {text} is a JSON object.", pointer)
        tests: list[Test] = []
        for key, value in keys.items():
            place = f"{pointer}/{escape(key)}"
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


def _refuse_other_allow(statement: Mapping[str, Any], pointer: str) -> None:
    """Only RCPFullAWSAccess allows; that its principal is everyone is asked of each statement."""
    if statement["Effect"] != "Allow":
        return
    action, resource = (
        each[0] if isinstance(each, list) and len(each) == 1 else each
        for each in (statement.get("Action"), statement.get("Resource"))
    )
    if (action, resource, statement.get("Condition", {})) != ("*", "*", {}):
        raise MalformedPolicy(
            f'{_ORGANIZATION} Effect must be "Deny": only RCPFullAWSAccess allows.',
            f"{pointer}/Effect",
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
    if scalars and isinstance(value, int | float):  # a boolean is an int
        return json.dumps(value)
    raise MalformedPolicy(f"{_SYNTAX} A string is expected here.", pointer)
