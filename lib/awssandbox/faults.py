"""Faults by schedule: what goes wrong, in which calls, how often.

A schedule is a list of rules in YAML or JSON; `docs/faults.md` describes it. Each rule counts what
it matches: the first `after` pass unharmed, the next `times` have the fault. The first rule whose
turn it is acts; the others count all the same. Counting is done under the world's lock.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from awssandbox import services
from awssandbox.errors import AwsError
from awssandbox.late import Late, build_thing, made, standings

if TYPE_CHECKING:
    from awssandbox.call import Answer, Call
    from awssandbox.kms.principals import Directory

THROTTLE: Final = "throttle"
SERVER_ERROR: Final = "server_error"
UNAVAILABLE: Final = "unavailable"
EXPIRED: Final = "expired_credentials"
RESET_BEFORE: Final = "reset_before"
RESET_AFTER: Final = "reset_after"
TIMEOUT: Final = "timeout"
UNKNOWN_TO_KMS: Final = "unknown_to_kms"
SLOW_BUILD: Final = "slow_build"
SEEN_LATE: Final = "seen_late"
EFFECT_LATE: Final = "effect_late"
RECORD_LATE: Final = "record_late"
RECORD_TWICE: Final = "record_twice"
RECORD_NEVER: Final = "record_never"

CALLS: Final = frozenset(
    {THROTTLE, SERVER_ERROR, UNAVAILABLE, EXPIRED, RESET_BEFORE, RESET_AFTER, TIMEOUT}
)
RECORDS: Final = frozenset({RECORD_LATE, RECORD_TWICE, RECORD_NEVER})
_WITH_SECONDS: Final = frozenset(
    {TIMEOUT, UNKNOWN_TO_KMS, SLOW_BUILD, SEEN_LATE, EFFECT_LATE, RECORD_LATE}
)
_MAKES: Final[Mapping[str, tuple[str, str]]] = {
    "CreateRole": ("Role", "RoleId"),
    "CreateUser": ("User", "UserId"),
}
"""The IAM operations that make principals, and where their answers have the unique id."""
_PUTS: Final = """
    PutUserPolicy DeleteUserPolicy AttachUserPolicy DetachUserPolicy
    PutGroupPolicy DeleteGroupPolicy AttachGroupPolicy DetachGroupPolicy
    PutRolePolicy DeleteRolePolicy AttachRolePolicy DetachRolePolicy
    AddUserToGroup RemoveUserFromGroup CreatePolicyVersion SetDefaultPolicyVersion
    PutUserPermissionsBoundary DeleteUserPermissionsBoundary
    PutRolePermissionsBoundary DeleteRolePermissionsBoundary
    UpdateAssumeRolePolicy TagUser UntagUser TagRole UntagRole
"""
CHANGES: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    UNKNOWN_TO_KMS: {"iam": frozenset(_MAKES)},
    SLOW_BUILD: {"imagebuilder": frozenset({"CreateImage"})},
    SEEN_LATE: {
        "iam": frozenset(
            {"CreateRole", "CreateUser", "CreatePolicy", "PutRolePolicy", "AttachRolePolicy"}
        ),
        "kms": frozenset({"CreateKey", "CreateAlias"}),
    },
    EFFECT_LATE: {
        "iam": frozenset(_PUTS.split()),
        "kms": frozenset(
            {
                *("PutKeyPolicy", "CreateGrant", "RevokeGrant", "RetireGrant"),
                *("TagResource", "UntagResource", "CreateAlias", "UpdateAlias", "DeleteAlias"),
            }
        ),
    },
}
"""The faults of changes that are made and not seen yet, and the operations that may have each."""
FAULTS: Final = (*sorted(CALLS), *CHANGES, *sorted(RECORDS))
_KEYS: Final = ("service", "operation", "fault", "after", "times", "seconds")
ANY: Final = "*"
ALWAYS: Final = "always"
LONGEST_S: Final = 86_400 * 90


class ScheduleError(ValueError):
    """A schedule that is not valid: the place in it, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One fault. `times` is None where it never ends; `seconds` are of the sandbox's clock.

    Only those of `timeout` are real.
    """

    service: str
    operation: str
    fault: str
    after: int = 0
    times: int | None = 1
    seconds: float = 0.0

    def matches(self, service: str, operation: str) -> bool:
        """Whether the rule is about this operation."""
        return self.service in (ANY, service) and self.operation in (ANY, operation)

    def acts(self, nth: int) -> bool:
        """Whether the `nth` match (from 0) has the fault."""
        return nth >= self.after and (self.times is None or nth < self.after + self.times)


def parse(text: str) -> tuple[Rule, ...]:
    """The rules of a schedule in YAML or JSON. Raises ScheduleError with the first wrong place."""
    import yaml  # not needed by a sandbox without a schedule

    try:
        entries = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        problem = getattr(error, "problem", None) or "not text"
        raise ScheduleError(f"{place}: is not YAML: {problem}") from None
    if not isinstance(entries, list):
        raise ScheduleError("the file: is not a list of rules")
    return tuple(_rule(f"rule {number}", entry) for number, entry in enumerate(entries, 1))


def _rule(place: str, entry: object) -> Rule:
    if not isinstance(entry, dict):
        raise ScheduleError(f"{place}: is not a mapping with {', '.join(_KEYS)}")
    for key in entry:
        if key not in _KEYS:
            raise ScheduleError(f"{place}: has no {key!r}; it may have {', '.join(_KEYS)}")
    for key in ("service", "operation", "fault"):
        if not isinstance(entry.get(key), str):
            raise ScheduleError(f"{place}, {key}: is needed, a text")
    service, operation, fault = entry["service"], entry["operation"], entry["fault"]
    if fault not in FAULTS:
        raise ScheduleError(f"{place}, fault: {fault!r} is none of {', '.join(FAULTS)}")
    _check_operation(place, service, operation)
    may = CHANGES.get(fault, {service: frozenset({operation})})
    if service not in may or operation not in {ANY, *may[service]}:
        names = "; ".join(f"{of}: {', '.join(sorted(may[of]))}" for of in may)
        raise ScheduleError(f"{place}, operation: {fault} is only for {names}")
    if (fault in _WITH_SECONDS) != ("seconds" in entry):
        wrong = "is needed" if fault in _WITH_SECONDS else "has no meaning"
        raise ScheduleError(f"{place}, seconds: {wrong} with {fault}")
    times = entry.get("times", 1)
    return Rule(
        service,
        operation,
        fault,
        after=int(_number(f"{place}, after", entry.get("after", 0), 0, whole=True)),
        times=None if times == ALWAYS else int(_number(f"{place}, times", times, 1, whole=True)),
        seconds=_number(f"{place}, seconds", entry.get("seconds", 0), 0),
    )


def _check_operation(place: str, service: str, operation: str) -> None:
    if service == ANY:
        if operation != ANY:
            raise ScheduleError(f"{place}, operation: must be '*' where service is '*'")
        return
    if service not in services.MODULES:
        raise ScheduleError(
            f"{place}, service: {service!r} is none of {', '.join(services.MODULES)}, '*'"
        )
    if operation != ANY and operation not in services.model(service).operation_names:
        raise ScheduleError(f"{place}, operation: {service} has no {operation!r}")


def _number(place: str, value: object, least: int, *, whole: bool = False) -> float:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= LONGEST_S:
        kind = "a whole number" if whole else "a number"
        other = f", or {ALWAYS}" if place.endswith("times") else ""
        raise ScheduleError(f"{place}: {value!r} is not {kind} from {least} to {LONGEST_S}{other}")
    return value


@dataclass(frozen=True, slots=True)
class Before:
    """What there was before a call, as far as the schedule may let it be seen for longer."""

    made: tuple[Hashable, object] | None = None
    standings: Mapping[Hashable, object] = field(default_factory=dict)


class Faults:
    """A schedule in use: its rules, how often each matched, and what is not seen yet."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._matched = [0] * len(self._rules)
        self._known_at: dict[str, datetime] = {}
        self.late = Late()

    def follow(self, rules: Sequence[Rule]) -> list[int]:
        """Go by these rules from now on, counted from 0; gives how often each before them matched.

        What is late already stays so.
        """
        matched = self._matched
        self._rules = tuple(rules)
        self._matched = [0] * len(self._rules)
        return matched

    def of_call(self, service: str, operation: str) -> Rule | None:
        """The fault of the next call of an operation from outside."""
        return self._next(CALLS, service, operation)

    def of_record(self, service: str, operation: str) -> Rule | None:
        """The fault of the next record of an operation."""
        return self._next(RECORDS, service, operation)

    def before(self, call: Call) -> Before:
        """What is there before a call that some rule may make late."""
        makes = self._may(SEEN_LATE, call) and call.operation != "CreateKey"
        return Before(
            made(call) if makes else None,
            standings(call) if self._may(EFFECT_LATE, call) else {},
        )

    def note(self, call: Call, answer: Answer, before: Before) -> None:
        """Remember what a call changed, where a rule says that the change is not seen yet."""
        if until := self._until(UNKNOWN_TO_KMS, call):
            member, unique_id = _MAKES[call.operation]
            self._known_at[answer.output[member][unique_id]] = until
        if until := self._until(SLOW_BUILD, call):
            image = answer.output["imageBuildVersionArn"]
            self.late.keep(build_thing(image), "not ended", until)
        if until := self._until(SEEN_LATE, call):
            # Only CreateKey's answer says what it made.
            thing, was = before.made or (answer.output["KeyMetadata"]["Arn"], None)
            self.late.keep(thing, was, until)
        if until := self._until(EFFECT_LATE, call):
            after = standings(call)
            for one, was in before.standings.items():
                if one in after and after[one] != was:
                    self.late.keep(("standing", one), was, until)

    def _may(self, fault: str, call: Call) -> bool:
        return call.operation in CHANGES[fault].get(call.service, ()) and any(
            rule.fault == fault and rule.matches(call.service, call.operation)
            for rule in self._rules
        )

    def _until(self, fault: str, call: Call) -> datetime | None:
        """When a change is seen, None for at once."""
        if not self._may(fault, call):
            return None
        rule = self._next({fault}, call.service, call.operation)
        return None if rule is None else call.time + timedelta(seconds=rule.seconds)

    def directory(self, directory: Directory, now: datetime) -> Directory:
        """`directory` without the principals that are new at `now`."""
        new = {unique_id for unique_id, known_at in self._known_at.items() if now < known_at}
        return _Known(directory, new)

    def _next(self, faults: Collection[str], service: str, operation: str) -> Rule | None:
        acting: Rule | None = None
        for place, rule in enumerate(self._rules):
            if rule.fault not in faults or not rule.matches(service, operation):
                continue
            if acting is None and rule.acts(self._matched[place]):
                acting = rule
            self._matched[place] += 1
        return acting


class _Known:
    """A directory of principals but for the `new` ones, by unique id."""

    def __init__(self, directory: Directory, new: Collection[str]) -> None:
        self._directory = directory
        self._new = new

    def unique_id(self, arn: str) -> str | None:
        found = self._directory.unique_id(arn)
        return None if found is None or found.split(":")[0] in self._new else found

    def arn(self, unique_id: str) -> str | None:
        return None if unique_id in self._new else self._directory.arn(unique_id)


_THROTTLED: Final[Mapping[str, str]] = {"iam": "Throttling", "sts": "Throttling"}
"""Where throttling has another code than ThrottlingException: what IAM and STS answer in practice.

Source: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html and the same page of
each other service
"""


_S3: Final[Mapping[str, tuple[str, str, int]]] = {
    THROTTLE: ("SlowDown", "Please reduce your request rate.", 503),
    SERVER_ERROR: ("InternalError", "We encountered an internal error. Please try again.", 500),
    EXPIRED: ("ExpiredToken", "The provided token has expired.", 400),
}
"""Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""

_EC2: Final[Mapping[str, tuple[str, str, int]]] = {
    THROTTLE: ("RequestLimitExceeded", "Request limit exceeded.", 503),
    SERVER_ERROR: ("InternalError", "An internal error has occurred.", 500),
    UNAVAILABLE: ("Unavailable", "The server is overloaded and can't handle the request.", 503),
    EXPIRED: ("RequestExpired", "Request has expired.", 400),
}
"""EC2's own. Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html"""

_OWN: Final = {"s3": _S3, "ec2": _EC2}


def refusal(rule: Rule, service: str) -> AwsError | None:
    """What a call with a fault is answered instead of being served; None where it is served.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
    """
    if rule.fault in (own := _OWN.get(service, {})):
        return AwsError(*own[rule.fault])
    if rule.fault == THROTTLE:
        return AwsError(_THROTTLED.get(service, "ThrottlingException"), "Rate exceeded", 400)
    if rule.fault == SERVER_ERROR:
        return AwsError(
            "InternalFailure",
            "The request processing has failed because of an unknown error, exception or failure.",
            500,
        )
    if rule.fault == UNAVAILABLE:
        return AwsError(
            "ServiceUnavailable",
            "The request has failed due to a temporary failure of the server.",
            503,
        )
    if rule.fault == EXPIRED:
        return AwsError(
            "ExpiredToken", "The security token included in the request is expired", 403
        )
    return None
