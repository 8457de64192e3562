"""The rules: each looks at one statement, or at the whole, and yields what it finds.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from iamaccess.lint import services
from iamaccess.lint.globs import could_match, exactly, key_arn
from iamaccess.lint.parts import Aim, Part, Severity, Test, Text, account_of

RULES: Final[Mapping[str, str]] = {
    "K00": "AWS would refuse the document",
    "K01": "nobody could call PutKeyPolicy any more",
    "K02": "the key policy does not delegate to the account",
    "K03": "Resource matches no key, or not this one",
    "K04": "Action or Resource is missing: no effect",
    "K05": "Allow to everyone without a condition on who calls",
    "K06": "kms:*, kms:Put* or kms:CreateGrant to other than administrators",
    "K07": "unknown action",
    "K08": "unknown condition key, or one that the action does not have",
    "K09": "cryptographic action without a condition on the encryption context",
    "K10": "wildcard in the value of an operator that has none",
    "K11": "name of the encryption context in other letter case",
    "K12": "wildcard for the account, or another account",
    "K13": "principal that is gone: its unique id is left",
    "K14": "too long, or with characters that KMS does not take",
    "K15": "NotPrincipal",
    "K16": "condition key twice, in different letter case",
    "R01": "Sid that IAM refuses",
    "R02": "Resource is more than one key",
    "R03": "too long for an IAM policy",
}
"""Each rule by its id: K of key policies (most are of role policies too), R of role policies."""

CONTEXT: Final = "kms:encryptioncontext:"
CONTEXT_KEYS: Final = "kms:encryptioncontextkeys"
NAMES: Final = ("aws:imagebuilder:arn", "aws-crypto-public-key")
"""The names in the encryption context of Image Builder's workflows."""
_CRYPTOGRAPHIC: Final = (
    *("kms:decrypt", "kms:encrypt", "kms:generatedatakey", "kms:generatedatakeypair"),
    *("kms:generatedatakeypairwithoutplaintext", "kms:generatedatakeywithoutplaintext"),
    *("kms:reencryptfrom", "kms:reencryptto"),
)
"""The actions whose requests have an encryption context."""
_WHO_CALLS: Final = (
    *("aws:principal", "aws:sourceaccount", "aws:sourcearn", "aws:sourceorg", "aws:sourcevpc"),
    *("aws:userid", "aws:username", "aws:sourceip", "kms:calleraccount"),
)
"""How the condition keys begin that say who calls, or from where."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule finds; which rule it was, and the line, are added later."""

    severity: Severity
    pointer: str
    why: str
    mend: str


error = functools.partial(Found, "error")
warning = functools.partial(Found, "warning")
note = functools.partial(Found, "note")

Rule = Callable[[Part, Aim, str | None], Iterator[Found]]
"""Of one statement; the last argument is the key's account, as far as it is known."""


@functools.lru_cache(maxsize=4096)
def glob(pattern: str, text: str) -> bool:
    """Whether a pattern with `*` and `?` matches, whatever the letter case."""
    return could_match(pattern.lower(), exactly(text.lower()))


def allows_action(part: Part, action: str) -> bool:
    """Whether a statement allows that action of somebody, somewhere."""
    if not part.allows:
        return False
    if "NotAction" in part.written:
        return not any(glob(text.value, action) for text in part.texts("NotAction"))
    return any(glob(text.value, action) for text in part.texts("Action"))


def k03(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """A Resource that matches no key, or not this one."""
    if not any(glob(text.value, "kms:decrypt") for text in part.texts("Action")) and not any(
        re.match(r"(?i)kms:|\*$", text.value) for text in part.texts("Action")
    ):
        return
    for text in part.texts("Resource"):
        pattern = text.value
        if re.match(r"arn:[^:]*:kms:[^:]*:[^:]*:alias/", pattern):
            if all(re.search(r"(?i)alias", action.value) for action in part.texts("Action")):
                continue
            yield error(
                text.pointer,
                f"{pattern} is an alias: it stands for the alias itself, never for its key.",
                "Name the key by its ARN.",
            )
        elif aim.key_arn and not could_match(pattern, exactly(aim.key_arn)):
            yield error(
                text.pointer,
                f"{pattern} does not match this key, {aim.key_arn}: the statement does nothing.",
                f"Write {_star_or(aim, part)}.",
            )
        elif pattern != "*" and not could_match(pattern, key_arn()):
            yield error(
                text.pointer,
                f"{pattern} matches no key: the statement does nothing. A key's ARN ends in "
                "key/ and the key's id, letters, digits and dashes.",
                f"Write {_star_or(aim, part)}.",
            )


def _star_or(aim: Aim, part: Part) -> str:
    if "Principal" in part.written or "NotPrincipal" in part.written:
        return '"*", which in a key policy means this key'
    return aim.key_arn or "the ARN of the key"


def k04(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """A statement without Action or Resource, which KMS takes and which does nothing."""
    for element in ("Action", "Resource"):
        present = [one for one in (element, f"Not{element}") if one in part.written]
        if not present or part.written[present[0]] == []:
            yield error(
                f"{part.pointer}/{present[0]}" if present else part.pointer,
                f"Without {element} the statement has no effect; KMS takes it all the same.",
                f"Add {element}, or take the statement out.",
            )


def k05(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """Allow to everyone, in all accounts and without an account."""
    for kind, text in part.principals():
        everyone = part.allows and kind == "AWS" and text.value == "*"
        if everyone and not any(map(_narrows, part.tests())):
            yield error(
                text.pointer,
                "It allows everyone: no condition says who may call.",
                "Name the principals, or add a condition such as StringEquals on "
                "kms:CallerAccount that fails where the key is absent.",
            )


def _narrows(test: Test) -> bool:
    """Whether a condition limits who calls."""
    if not test.key.lower().startswith(_WHO_CALLS) or test.name == "Null":
        return False
    if not test.fails_without_key or "Not" in test.name:
        return False
    return not any(set(text.value) <= {"*"} or text.value == "0.0.0.0/0" for text in test.values)


def k06(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """The power to change who may use the key."""
    powers = []
    if allows_action(part, "kms:PutKeyPolicy"):
        powers.append("kms:PutKeyPolicy")
    if allows_action(part, "kms:CreateGrant") and not _only_for_services(part):
        powers.append("kms:CreateGrant")
    if not powers:
        return
    what = " and ".join(powers)
    if "Principal" not in part.written:
        yield warning(
            f"{part.pointer}/{_element(part, 'Action')}",
            f"It allows {what}: who has that can give the key to others.",
            "List the actions that are needed, such as kms:Decrypt and kms:GenerateDataKey.",
        )
        return
    for _, text in part.principals():
        name = text.value
        if name == "*" or name in aim.administrators or _is_account(name):
            continue
        yield warning(
            text.pointer,
            f"It allows {name} {what}: who has that can give the key to others.",
            "List the actions that are needed, or name it an administrator with "
            f"--administrator {name}.",
        )


def _only_for_services(part: Part) -> bool:
    """AWS's own condition for grants that only its services make.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    return any(
        test.key.lower() == "kms:grantisforawsresource"
        and test.fails_without_key
        and [text.value for text in test.values] == ["true"]
        for test in part.tests()
    )


def _is_account(name: str) -> bool:
    return bool(re.fullmatch(r"arn:[^:]*:iam::[0-9]{12}:root|[0-9]{12}", name))


def _element(part: Part, element: str) -> str:
    return element if element in part.written else f"Not{element}"


def k07(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """An action that AWS does not have."""
    for text in (*part.texts("Action"), *part.texts("NotAction")):
        service, _, name = text.value.lower().partition(":")
        if text.value == "*" or not name:
            continue
        if "Principal" in part.written and not glob(service, "kms"):
            yield warning(
                text.pointer,
                f"A key policy is asked about actions of KMS only, never about {text.value}.",
                "Take it out.",
            )
        elif re.search(r"[*?]", service):
            continue
        elif not services.exists(service):
            yield _unknown(text, f"AWS has no service {service!r}", [])
        elif not any(glob(text.value, one) for one in services.actions(service)):
            known = list(services.actions(service).values())
            yield _unknown(text, f"AWS has no action {text.value}", known)


def _unknown(text: Text, what: str, known: list[str]) -> Found:
    near = {one.lower(): one for one in known}
    close = difflib.get_close_matches(text.value.lower(), near, 1, 0.7)
    mean = f"Write {near[close[0]]}." if close else "Look it up, and mend or remove it."
    why = f"{what}, by data of {services.version()}: a newer one would not be known."
    return warning(text.pointer, why, mean)


def k08(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """A condition key that AWS does not have, or not for these actions."""
    tests = part.tests()
    if not tests:
        return
    literal = [text.value for text in part.texts("Action")]
    known = [
        name
        for pattern in literal
        if services.exists(service := pattern.partition(":")[0].lower())
        for one, name in services.actions(service).items()
        if glob(pattern, one)
    ]
    for test in tests:
        if services.is_global_key(test.key):
            continue
        place, service = Text(test.pointer, test.key), test.key.partition(":")[0].lower()
        if service == "aws" or not services.exists(service):
            if not any(services.is_key_of(one, test.key) for one in known):
                names = [f"aws:{name}" for name in services.GLOBAL_KEYS]
                yield _unknown(place, f"AWS has no condition key {test.key}", names)
            continue
        if not services.is_key_of_service(service, test.key):
            yield _unknown(place, f"AWS has no condition key {test.key}", [])
            continue
        without = [name for name in known if not services.is_key_of(name, test.key)]
        if known and len(without) == len(known):
            yield warning(
                test.pointer,
                f"None of the statement's actions has {test.key}: it is always absent.",
                "Use a condition key that they have.",
            )
        elif named := [name for name in without if name.lower() in {p.lower() for p in literal}]:
            effect = "never holds for" if test.fails_without_key else "does not limit"
            yield warning(
                test.pointer,
                f"{', '.join(named)} has no {test.key}: the condition {effect} it.",
                "Put that action into a statement of its own.",
            )


def k09(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """Cryptographic actions that no encryption context limits."""
    used = [action for action in _CRYPTOGRAPHIC if allows_action(part, action)]
    if not used or not _limited_by_context(part, aim):
        return
    tests = [
        test
        for test in part.tests()
        if test.key.lower().startswith(CONTEXT) or test.key.lower() == CONTEXT_KEYS
    ]
    if any(map(_limits, tests)):
        return
    mend = (
        "Add a StringLike condition on kms:EncryptionContext:aws:imagebuilder:arn, with the "
        "workflows' ARNs."
    )
    for test in tests:
        yield warning(
            test.pointer,
            f"{test.operator} on {test.key} holds for a request without that context, or for any.",
            mend,
        )
    if not tests:
        yield warning(
            part.pointer,
            "It allows cryptography with any encryption context, not for workflows only.",
            mend,
        )


def _limited_by_context(part: Part, aim: Aim) -> bool:
    """Whether the statement is one of those that should be for workflows only."""
    if "Principal" not in part.written:
        return True
    names = {text.value for _, text in part.principals()}
    if aim.execution_role:
        return aim.execution_role in names
    # Whose policy it is not known to be: an administrator's statement is found by K06.
    return not allows_action(part, "kms:PutKeyPolicy") and any(
        ":role/" in name for name in names - aim.administrators
    )


def _limits(test: Test) -> bool:
    anything = any(set(text.value) == {"*"} for text in test.values) and "Like" in test.name
    return test.fails_without_key and not anything


_OURS_IS_LITERAL = re.compile(r"arn:[^:*?]*:imagebuilder:[^*?]*/[0-9]+\.[0-9]+\.[0-9]+/\*")


def k10(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """A `*` or `?` where it is a letter like any other."""
    for test in part.tests():
        if "Like" in test.name or test.name.startswith("Arn") or test.name == "Null":
            continue
        for text in test.values:
            plain = re.sub(r"\$\{[^}]*\}", "", text.value)
            if re.search(r"[*?]", plain) and not _OURS_IS_LITERAL.fullmatch(text.value):
                yield warning(
                    text.pointer,
                    f"{test.operator} has no wildcards: it compares {text.value} letter by letter.",
                    f"Write {_with_wildcards(test)}, or the exact value.",
                )


def _with_wildcards(test: Test) -> str:
    return "StringNotLike" if "Not" in test.name else "StringLike"


def k11(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """A name of Image Builder's encryption context in other letter case."""
    for test in part.tests():
        name = test.key[len(CONTEXT) :] if test.key.lower().startswith(CONTEXT) else ""
        for known in NAMES:
            if name != known and name.lower() == known:
                yield note(
                    test.pointer,
                    f"Image Builder's context has {known}; a condition key is compared whatever "
                    "its letter case, so it holds.",
                    f"Write kms:EncryptionContext:{known}, as it is sent.",
                )
        if test.key.lower() != CONTEXT_KEYS:
            continue
        for text in test.values:
            for known in NAMES:
                if text.value != known and text.value.lower() == known:
                    yield warning(
                        text.pointer,
                        f"Image Builder's context has {known}: {text.value} never matches, for "
                        "the letter case of a value counts.",
                        f"Write {known}.",
                    )


def k12(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """Another account, or any, in a principal or in an ARN that a condition compares."""
    for kind, text in part.principals():
        named = account_of(text.value)
        if kind == "AWS" and part.allows and account and named not in (None, account):
            yield _foreign(text, f"{text.value} is of the account {named}", account)
    for test in part.tests():
        for text in test.values:
            fields = text.value.split(":", 5)
            if len(fields) < 6 or fields[0] != "arn" or not fields[4]:
                continue
            if re.search(r"[*?]", fields[4]) and ("Like" in test.name or "Arn" in test.name):
                yield warning(
                    text.pointer,
                    f"{text.value} is of any account.",
                    f"Write {account or 'the account'} for its account; a wildcard for the Region "
                    "is meant.",
                )
            elif account and fields[4].isdigit() and fields[4] != account:
                yield _foreign(text, f"{text.value} is of the account {fields[4]}", account)


def _foreign(text: Text, what: str, account: str) -> Found:
    why = f"{what}, the key of {account}."
    return warning(text.pointer, why, "See whether that account is meant.")


def k13(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """The unique id that is left of a user or role that was deleted."""
    for element in ("Principal", "NotPrincipal"):
        for kind, text in part.principals(element):
            if kind == "AWS" and re.fullmatch(r"A(?:ROA|IDA)[A-Z0-9]+", text.value):
                yield error(
                    text.pointer,
                    f"{text.value} is the unique id of a user or role that is gone. KMS takes no "
                    "policy with it, and one made again under the old name has another.",
                    "Take it out, or write the ARN of the user or role that there is now.",
                )


def k15(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """NotPrincipal, which AWS advises against."""
    if "NotPrincipal" in part.written:
        yield Found(
            "error" if part.allows else "warning",
            f"{part.pointer}/NotPrincipal",
            "It allows everyone who is not listed, in all accounts."
            if part.allows
            else "It denies everyone who is not listed under each name that AWS may look up: "
            "account, role and session.",
            "Name whom it is about by Principal; or deny by a condition on aws:PrincipalArn.",
        )


def k16(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """One condition key under two spellings."""
    seen: dict[tuple[str, str], str] = {}
    for test in part.tests():
        first = seen.setdefault((test.operator, test.key.lower()), test.key)
        if first != test.key:
            yield warning(
                test.pointer,
                f"{first} and {test.key} are one condition key: both must hold.",
                "Write it once, with all its values in a list.",
            )


def r01(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """A Sid that is legal in a key policy only."""
    sid = part.written.get("Sid")
    if isinstance(sid, str) and not re.fullmatch(r"[A-Za-z0-9]*", sid):
        legal = "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", sid))
        yield error(
            f"{part.pointer}/Sid",
            f"IAM refuses the Sid {sid!r}: it takes letters and digits only. KMS takes spaces.",
            f"Write {legal}." if legal else "Leave the Sid out.",
        )


def r02(part: Part, aim: Aim, account: str | None) -> Iterator[Found]:
    """All keys, where one is meant."""
    actions = [text.value for text in part.texts("Action")]
    of_keys = [one for one in actions if one.lower().startswith("kms:") or one == "*"]
    chosen = ("kms:resourcealiases", "kms:requestalias", "aws:resourcetag/")
    if not part.allows or not of_keys or all(map(_without_resource, of_keys)):
        return
    if any(test.key.lower().startswith(chosen) for test in part.tests()):
        return
    for text in part.texts("Resource"):
        if re.search(r"[*?]", text.value) and could_match(text.value, key_arn()):
            yield warning(
                text.pointer,
                f"{text.value} is more than one key.",
                f"Write {aim.key_arn or 'the ARN of the key'}.",
            )


def _without_resource(action: str) -> bool:
    """Whether an action acts on no key: CreateKey, ListKeys."""
    return action.lower() in services.actions("kms") and not services.has_resource(action)


OF_KEY_POLICIES: Final[Mapping[str, Rule]] = {
    **{"K03": k03, "K04": k04, "K05": k05, "K06": k06, "K07": k07, "K08": k08, "K09": k09},
    **{"K10": k10, "K11": k11, "K12": k12, "K13": k13, "K15": k15, "K16": k16},
}
OF_ROLE_POLICIES: Final[Mapping[str, Rule]] = {
    **{"R01": r01, "R02": r02, "K03": k03, "K06": k06, "K07": k07, "K08": k08},
    **{"K09": k09, "K10": k10, "K11": k11, "K12": k12, "K16": k16},
}
