"""A second judge, slow and obvious, written from AWS's documents and not from the engine.

It reads plain JSON documents, compiles nothing and gives no reasons. What it does not know it
asks: what a layer that was not given holds, which value a condition key has of which the request
says nothing, and what AWS does where its documents leave that open. It tries each possible answer;
where all lead to one outcome, that is the outcome, else it is UNKNOWN.

Sources, by the names below, under https://docs.aws.amazon.com/IAM/latest/UserGuide/:
LOGIC reference_policies_evaluation-logic_policy-eval-denyallow.html,
CROSS reference_policies_evaluation-logic-cross-account.html,
PRINCIPAL reference_policies_elements_principal.html,
NOT reference_policies_elements_notprincipal.html,
OPERATORS reference_policies_elements_condition_operators.html,
SETS reference_policies_condition-single-vs-multi-valued-context-keys.html,
VARIABLES reference_policies_variables.html; under .../organizations/latest/userguide/:
SCP orgs_manage_policies_scps.html, RCP orgs_manage_policies_rcps.html; and under
.../kms/latest/: KMS developerguide/key-policy-default.html, GRANT APIReference/API_CreateGrant.html
and APIReference/API_GrantConstraints.html.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from ipaddress import ip_address, ip_network
from typing import Any

Document = Mapping[str, Any]
CONTEXTLESS = ("kms:DescribeKey", "kms:CreateKey")
"""Actions, of those that are generated, whose requests have no encryption context."""


@dataclass(frozen=True)
class Case:
    """A request and what is written. A layer that is None was not given.

    `context`: keys as sent; a list is a multi-valued key. `absent`: keys known to be absent, None
    for all that `context` lacks. `domains`: the values that a key not told may have.
    """

    kind: str
    arn: str
    account: str | None
    role_arn: str | None
    unique_id: str | None
    action: str
    resource: str
    context: Mapping[str, Any]
    identity: Sequence[Document] | None
    key_policy: Sequence[Document] | None
    grants: Sequence[Mapping[str, Any]] | None
    boundary: Sequence[Document] | None
    session: Sequence[Document] | None
    scps: Sequence[Sequence[Document]] | None
    rcps: Sequence[Sequence[Document]] | None
    absent: Sequence[str] | None = None
    domains: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class Open(Exception):
    """A question that this world has not answered yet."""

    def __init__(self, question: str, answers: Sequence[Any]) -> None:
        super().__init__(question)
        self.question, self.answers = question, answers


def outcome(case: Case) -> str:
    """ALLOWED, DENIED, or UNKNOWN where two worlds differ."""
    worlds: list[dict[str, Any]] = [{}]
    found: set[bool] = set()
    while worlds and len(found) < 2:
        world = worlds.pop()
        try:
            found.add(Judge(case, world).allows())
        except Open as open_:
            worlds += [{**world, open_.question: answer} for answer in open_.answers]
    return "UNKNOWN" if len(found) == 2 else "ALLOWED" if found == {True} else "DENIED"


def contents(case: Case, name: str) -> list[Any]:
    """What a layer may hold, as far as it can matter to the request: one of each kind."""

    def just(effect: str, action: str = "*", **principal: Any) -> Document:
        statement = {"Effect": effect, "Action": action, "Resource": "*", **principal}
        return {"Version": "2012-10-17", "Statement": [statement]}

    if name == "grants":
        grant = {"operations": [case.action.removeprefix("kms:")], "key": case.resource}
        return [[], *([{**grant, "grantee": arn}] for arn in {case.arn, case.role_arn or case.arn})]
    if name == "key_policy":
        itself, account = {"AWS": case.role_arn or case.arn}, {"AWS": case.account or []}
        if case.kind in ("service", "anonymous"):
            itself = account
        return [
            [],
            [just("Allow", Principal="*")],
            [just("Deny", Principal="*")],
            [just("Allow", Principal=account)],
            [just("Allow", Principal=itself)],
        ]
    if name == "scps":
        return [[], [[just("Allow")]], [[just("Allow"), just("Deny")]]]
    if name == "rcps":
        everyone = {"Principal": "*"}
        return [[], [[just("Allow", **everyone), just("Deny", **everyone)]]]
    if name == "identity":
        return [[], [just("Allow")], [just("Deny")]]
    return [[], [just("Allow")], [just("Deny")], [just("Allow", "x:y")]]


class Judge:
    """One world: the case, and an answer to each question asked so far."""

    def __init__(self, case: Case, world: Mapping[str, Any]) -> None:
        self.case, self.world = case, world
        self.owner = case.resource.split(":")[4] if case.resource != "*" else case.account
        self.keyed = ":key/" in case.resource
        self.linked = ":role/aws-service-role/" in (case.role_arn or case.arn)

    def ask(self, question: str, answers: Sequence[Any] = (False, True)) -> Any:
        if question not in self.world:
            raise Open(question, answers)
        return self.world[question]

    # --- the layers -------------------------------------------------------------------------

    def layer(self, name: str) -> Sequence[Any]:
        """The documents of a layer; of one that was not given, each of its possible contents."""
        given: Sequence[Any] | None = getattr(self.case, name)
        if given is not None:
            return given
        found: Sequence[Any] = self.ask(f"layer {name}", contents(self.case, name))
        return found

    def allows(self) -> bool:
        """LOGIC: a Deny anywhere wins; then each guard rail must allow; then somebody must."""
        case = self.case
        person = case.kind in ("root", "user", "role", "session")
        rails = []
        if person and not self.linked:
            rails.append("scps")  # SCP: "SCPs don't affect any service-linked role".
        retires = case.action.lower() == "kms:retiregrant"  # RCP: "not effective in an RCP".
        if not (self.linked or retires) and (
            case.resource != "*" or self.ask("RCPs where no resource is")
        ):
            rails.append("rcps")  # RCP: neither do they; but the root user and outsiders.
        own = [] if case.kind in ("service", "anonymous", "root") else ["identity", "boundary"]
        if case.kind == "session":
            own.append("session")
        for name in rails:
            if self.any("Deny", [policy for level in self.layer(name) for policy in level]):
                return False
        if not retires and self.named("Deny"):  # RETIRE: "not effective in a key policy".
            return False
        for name in own:
            if self.any("Deny", self.layer(name)):
                return False
        # SCP: "there must be an explicit Allow statement at every level". RCP: RCPFullAWSAccess is
        # on every level; "you can't detach this policy".
        if "scps" in rails and not all(self.any("Allow", level) for level in self.layer("scps")):
            return False
        identity = case.kind == "root" or ("identity" in own and self.any_of("identity"))
        limited = any(not self.within(name) for name in own if name != "identity")
        if not self.keyed:  # No key, so no key policy: CreateKey, ListKeys, an alias as such.
            return identity and not limited
        names = self.named("Allow")
        if retires:  # The account may let its own principals retire a grant, by their policies.
            names &= {"account", "direct"} if case.kind == "root" else {"account"}
        granted = self.granted(limited)
        if not person:  # A service, or nobody: no policy of its own.
            return "direct" in names or granted
        if case.account != self.owner:  # CROSS: both accounts must allow.
            if granted and not (identity and not limited):
                return bool(self.ask("a grant alone, across accounts"))
            return (bool(names) and identity and not limited) or granted
        if "direct" in names or granted:  # PRINCIPAL: not limited by an implicit deny.
            return True
        if "role" in names and not limited:
            return True
        # KMS: only the account in the key policy lets identity policies count.
        return "account" in names and identity and not limited

    def any_of(self, name: str) -> bool:
        return self.any("Allow", self.layer(name))

    def within(self, name: str) -> bool:
        """A boundary or session policy that is there must allow; none limits nothing.

        But GetFederationToken without a policy gives a session that may do nothing.
        """
        federated = name == "session" and ":federated-user/" in self.case.arn
        return (not self.layer(name) and not federated) or self.any_of(name)

    def any(self, effect: str, policies: Sequence[Document]) -> bool:
        return any(
            each["Effect"] == effect and self.applies(each, policy)
            for policy in policies
            for each in listed(policy["Statement"])
        )

    def named(self, effect: str) -> set[str]:
        """How the key policy's statements that apply name the caller: directly, role, account."""
        found: set[str] = set()
        if not self.keyed:
            return found
        for policy in self.layer("key_policy"):
            for each in listed(policy["Statement"]):
                if (
                    each["Effect"] == effect
                    and (how := self.principal(each))
                    and self.applies(each, policy)
                ):
                    found |= how
        return found

    def principal(self, statement: Document) -> set[str]:
        """PRINCIPAL: how a statement names the caller; for NotPrincipal, whether it is not spared.

        NOT: to spare a user or session its account, its role and itself must be listed; where some
        of them are, it "might" be denied.
        """
        negated = "NotPrincipal" in statement
        element = statement.get("NotPrincipal" if negated else "Principal")
        case, found, names = self.case, set(), set()
        if element == "*":
            return set() if negated else {"direct"}
        for kind, values in (element or {}).items():
            for value in listed(values):
                names.add(re.sub(r"^arn:aws:iam::(\d+):root$", r"\1", value))
                if kind == "Service" and (case.kind, case.arn) == ("service", value):
                    found.add("direct")
                strangers = {
                    "CanonicalUser": bool(case.account),
                    "Federated": case.kind == "session",
                }
                unsaid = strangers.get(kind, False)
                if unsaid and self.ask(f"is it {value}"):
                    found.add("direct")
        if "*" in names:
            found.add("direct")
        if case.kind != "service":
            if names & {case.arn}:
                found.add("role" if case.kind == "role" else "direct")
            if case.role_arn in names:
                found.add("role")
            if case.unique_id in names:
                found.add("direct" if case.kind == "user" else "role")
            if case.account in names:
                found.add("direct" if case.kind == "root" else "account")
        if not negated:
            return found
        if not names:
            return set()
        itself = {case.arn, case.role_arn} - {None} <= names or case.kind == "root"
        if not found or (case.kind in ("user", "role", "session") and self.layer("boundary")):
            return {"direct"}  # NOT: "will always deny" whom a permissions boundary binds.
        if "*" in names or case.kind == "service" or (itself and case.account in names):
            return set()
        return {"direct"} if self.ask(f"NotPrincipal {sorted(names)}") else set()

    def granted(self, limited: bool) -> bool:
        """GRANT: operations, key, grantee, exact context pairs. What AWS leaves open is asked."""
        case, found = self.case, False
        if case.kind == "anonymous":
            return False
        for grant in self.layer("grants"):
            # A management operation has no context; a child grant's constraints are its context.
            constrained = case.action not in ("kms:DescribeKey", "kms:RetireGrant")
            fits = (
                grant["key"] == case.resource
                and case.action[4:] in grant["operations"]
                and grant["grantee"]
                in {case.arn, case.role_arn, f"arn:aws:iam::{case.account}:root"}
                and not (constrained and not self.constraints(grant))
            )
            if not fits:
                continue
            if grant["grantee"] not in (case.arn, case.role_arn):
                fits = self.ask("a grant to the account")
            elif case.action == "kms:CreateGrant":
                fits = self.ask("CreateGrant by a grant")
            elif limited and (case.role_arn == grant["grantee"] or case.kind == "role"):
                fits = self.ask("a grant to a role, limited")
            found = found or bool(fits)
        return found

    def constraints(self, grant: Mapping[str, Any]) -> bool:
        prefix = "kms:encryptioncontext:"
        names = {each for each in self.known_keys() if each.startswith(prefix)}
        pairs = {name[len(prefix) :]: self.values(name) for name in names}
        sent = {name: values[0] for name, values in pairs.items() if values}
        subset, equals = (
            None if grant.get(kind) is None else {k.lower(): v for k, v in grant[kind].items()}
            for kind in ("subset", "equals")
        )
        if subset is not None and not subset.items() <= sent.items():
            return False
        if equals is not None and equals != sent:
            return False
        # Equals is the whole context; only its names, told, say that there is no other pair.
        other = equals is not None and not self.told("kms:encryptioncontextkeys")
        return not (other and self.ask("another pair of the encryption context"))

    def told(self, key: str) -> bool:
        """Whether the request says of a key that it is there or is not."""
        absent, context = self.case.absent, self.case.context
        if key.startswith("kms:encryptioncontext") and self.case.action in CONTEXTLESS:
            return True
        return absent is None or key in {each.lower() for each in (*absent, *context)}

    # --- one statement ----------------------------------------------------------------------

    def applies(self, statement: Document, policy: Document) -> bool:
        """Action (letter case does not count), Resource, and every condition."""
        case, new = self.case, policy.get("Version", "2012-10-17") == "2012-10-17"

        def one(element: str, fits: Callable[[str], bool]) -> bool:
            if f"Not{element}" in statement:
                values = listed(statement[f"Not{element}"])
                return bool(values) and not any(fits(each) for each in values)
            return any(fits(each) for each in listed(statement.get(element, [])))

        return (
            one("Action", lambda each: like(each.lower(), case.action.lower()))
            and one("Resource", lambda each: self.like(each, case.resource, new))
            and all(
                self.condition(operator, key.lower(), listed(values), new)
                for operator, keys in statement.get("Condition", {}).items()
                for key, values in keys.items()
            )
        )

    def known_keys(self) -> set[str]:
        return {key.lower() for key in self.case.context} | {
            key.lower() for key in self.case.domains
        }

    def values(self, key: str) -> list[str]:
        """The request's values of a key, [] where it is absent; of one not told, each possible."""
        case = self.case
        sent = [values for name, values in case.context.items() if name.lower() == key]
        if not self.told(key):
            domain = next((v for k, v in case.domains.items() if k.lower() == key), ())
            sent = [self.ask(f"key {key}", [[], *domain])]
        return [text(each) for values in sent for each in listed(values)]

    def condition(self, operator: str, key: str, wanted: Sequence[Any], new: bool) -> bool:
        """OPERATORS and SETS, line by line."""
        quantifier, _, name = operator.rpartition(":")
        if_exists = name.endswith("IfExists")
        name = name.removesuffix("IfExists")
        values = self.values(key)
        if name == "Null":
            words = {text(each).lower() for each in wanted}
            if quantifier or not words or not words <= {"true", "false"}:
                return bool(self.ask(f"{operator} {sorted(words)}"))
            # SETS: Null with false keeps out "context keys with empty values", too.
            return ("false" if any(values) else "true") in words
        negated = "Not" in name
        if name.startswith("Arn") and any(each.count(":") < 5 for each in wanted):
            return bool(self.ask(f"{operator} with no ARN {wanted}"))

        def holds(value: str) -> bool:  # OR of the policy's values; NOR where negated.
            return any(self.compare(name, text(each), value, new) for each in wanted) != negated

        if quantifier:  # SETS: "a null data set, such as an empty string", is an absent key.
            values = [each for each in values if each]
        if not values and if_exists:
            return True
        if quantifier == "ForAllValues":
            return all(holds(each) for each in values)
        if quantifier == "ForAnyValue":
            return any(holds(each) for each in values)
        if not values:
            return negated  # "the key is not present": negated operators match, others do not.
        if len(values) > 1:
            return bool(self.ask(f"several values under one {operator} {key}"))
        return holds(values[0])

    def compare(self, operator: str, wanted: str, value: str, new: bool) -> bool:
        name = operator.replace("Not", "")
        if name == "StringEquals":
            return self.like(wanted, value, new, wild=False)
        if name == "StringEqualsIgnoreCase":
            return self.like(wanted.lower(), value.lower(), new, wild=False, fold=True)
        if name == "StringLike":
            return self.like(wanted, value, new)
        if name in ("ArnLike", "ArnEquals"):  # "Each of the six components is checked separately".
            ours, theirs = wanted.split(":", 5), value.split(":", 5)
            return len(ours) == len(theirs) == 6 and all(
                self.like(mine, other, new) for mine, other in zip(ours, theirs, strict=True)
            )
        if name == "Bool":
            return wanted.lower() == value.lower()
        if name == "IpAddress":
            try:  # "CIDR format": the range's length, no netmask.
                if re.search(r"/.*\.", wanted):
                    raise ValueError(wanted)
                return ip_address(value) in ip_network(wanted)
            except ValueError:
                return bool(self.ask(f"{name} of {value} and {wanted}"))
        convert: Callable[[str], Any] = moment if name.startswith("Date") else Fraction
        convert = bytes_of if name == "BinaryEquals" else convert
        try:
            left, right = convert(value), convert(wanted)
        except ValueError:
            return bool(self.ask(f"{name} of {value} and {wanted}"))
        return {
            "Equals": left == right,
            "LessThan": left < right,
            "LessThanEquals": left <= right,
            "GreaterThan": left > right,
            "GreaterThanEquals": left >= right,
        }[re.sub("^(Date|Numeric|Binary)", "", name)]

    def like(
        self, pattern: str, value: str, new: bool, *, wild: bool = True, fold: bool = False
    ) -> bool:
        """VARIABLES, and wildcards where `wild`: `*` any letters, `?` one.

        A variable stands for its value letter by letter; one without a value matches nothing. The
        older Version has no variables.
        """
        pieces = re.split(r"(\$\{[^}]*\})", pattern) if new else [pattern]
        symbols: list[tuple[str, bool]] = []  # A letter, and whether it is a wildcard.
        for piece in pieces:
            if not (new and piece.startswith("${")):
                symbols += [(letter, wild and letter in "*?") for letter in piece]
                continue
            name, _, default = piece[2:-1].partition(",")
            found = [name] if name in ("*", "?", "$") else self.values(name.strip().lower())
            if len(found) != 1 and default:
                found = [default.strip()[1:-1]]
            if len(found) != 1:
                return False
            symbols += [(letter, False) for letter in (found[0].lower() if fold else found[0])]
        return fits(symbols, value)


def fits(symbols: Sequence[tuple[str, bool]], value: str) -> bool:
    """Try every way."""
    if not symbols:
        return not value
    (letter, wild), rest = symbols[0], symbols[1:]
    if wild and letter == "*":
        return any(fits(rest, value[end:]) for end in range(len(value) + 1))
    return bool(value) and (wild or letter == value[0]) and fits(rest, value[1:])


def like(pattern: str, value: str) -> bool:
    return fits([(letter, letter in "*?") for letter in pattern], value)


def listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def bytes_of(value: str) -> bytes:
    """OPERATORS: "byte for byte against a base-64 encoded representation"."""
    return b64decode(value, validate=True)


def moment(value: str) -> float:
    """OPERATORS: ISO 8601 dates, or seconds since 1970. A date alone is left open."""
    if re.fullmatch(r"\d+", value) and len(value) > 4:
        return float(value)
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(value)
    return found.timestamp()
