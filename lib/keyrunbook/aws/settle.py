"""What became of a call whose outcome is unknown: AWS is asked before anything else is planned.

A call is unknown when its process died, or no answer came. `LOOK_UPS` has a look-up for each call
that the runbook makes. It finds what the call would have made, by evidence that it is this run's
(its tag, and the time) where there could be others; or the state that the call would have set.

What AWS shows of a change can lag behind it, so it is asked more than once, up to `settle_seconds`;
only then is the call taken for *not made*. A key that AWS showed later than that still has the
run's tag.

A key is found by ListKeys, ListResourceTags and DescribeKey, each of which reads the key itself: an
index of tags lags behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook import policies
from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.aws.wait import NotYet, wait_until
from keyrunbook.errors import OutcomeUnknown
from keyrunbook.ledger import DONE, NOT_MADE
from keyrunbook.parameters import settle_seconds
from keyrunbook.permissions import RUN_TAG

if TYPE_CHECKING:
    from keyrunbook.session import Run

INTERVAL_S: Final = {"sandbox": 0.2, "aws": 3.0}
"""Seconds between two looks."""

CLOCK_SKEW: Final = timedelta(minutes=1)
"""How much earlier than its intent something may say that it was made."""

Given = Mapping[str, Any]
Answer = Mapping[str, Any]
"""What AWS would have answered, as far as a change reads it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call whose outcome is unknown: what it was `given`, and since when it can have been made.

    `known` are the values that AWS gave to this run so far.
    """

    run: Run
    call: str
    given: Given
    since: datetime
    known: frozenset[str]

    def client(self, service: str) -> Any:
        """A client of the run."""
        return self.run.clients(service)


Find = Callable[[Asked], Answer | None]


@dataclass(frozen=True, slots=True)
class LookUp:
    """How to see whether a call was made.

    `find` gives what AWS would have answered, or None: nothing shows of it. `by` names the reads.
    `repeated` are the codes with which AWS refuses to do it twice.
    """

    by: str
    find: Find
    repeated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a call: whether it was made, how that was seen, what it gives."""

    made: bool
    how: str
    gives: Mapping[str, Any]


def all_of(run: Run) -> list[Found]:
    """Look up every call of this run whose outcome is unknown; each finding is an outcome line.

    The caller holds the run (`Ledger.applying`).
    Raises OutcomeUnknown where AWS does not tell, or may not be asked.
    """
    return [look_up(run, intent) for intent in run.ledger.unsettled()]


def look_up(run: Run, intent: Mapping[str, Any]) -> Found:
    """Look up one call, by its intent, and write what was found. Raises OutcomeUnknown."""
    found = look(run, intent)
    run.at(intent["step"]).record(
        "outcome",
        call=intent["call"],
        intent=intent["n"],
        status=DONE if found.made else NOT_MADE,
        found=found.how,
        gives=dict(found.gives),
    )
    return found


def look(run: Run, intent: Mapping[str, Any]) -> Found:
    """Ask AWS whether the call of this intent was made, until it shows or the limit is over.

    Raises OutcomeUnknown.
    """
    call = intent["call"]
    way = LOOK_UPS[call]
    known = (
        entry["gives"].values()
        for entry in run.ledger.of_kind("outcome")
        if entry["status"] == DONE
    )
    asked = Asked(
        run,
        call,
        intent["parameters"],
        datetime.fromisoformat(intent["time"]) - CLOCK_SKEW,
        frozenset(str(value) for values in known for value in values),
    )
    try:
        answer = wait_until(
            lambda: way.find(asked),
            settle_seconds(run.parameters, run.target),
            INTERVAL_S[run.target],
            progress=run.waiting(f"{call} to show"),
        )
    except (ClientError, BotoCoreError) as error:
        told = explain(error)
        raise OutcomeUnknown(
            f"Whether {_called(asked)} was carried out is not known, and it cannot be looked up "
            f"({way.by}): {told.what}",
            told.fix,
        ) from error
    if isinstance(answer, NotYet):
        how = f"{way.by}: nothing of it, asked {answer.probes} times in {answer.waited_s:.0f} s"
        return Found(False, how, {})
    wanted = intent.get("answers", {})
    return Found(True, way.by, {name: at(answer, path) for name, path in wanted.items()})


def at(answer: Answer, path: str) -> Any:
    """The value at a dotted path of a response."""
    value: Any = answer
    for name in path.split("."):
        value = value[name]
    return value


def _called(asked: Asked) -> str:
    return f"{asked.call} of {asked.since + CLOCK_SKEW:%Y-%m-%dT%H:%M:%SZ}"


def _only(asked: Asked, found: list[Any], what: str) -> Any:
    """The one that was found, or None. Raises OutcomeUnknown where it could be any of several."""
    if len(found) > 1:
        raise OutcomeUnknown(
            f"{_called(asked)} may have made any of these {what}, which all carry this run's tag: "
            f"{', '.join(map(str, found))}.",
            "Delete all but one of them, then go on with the run.",
        )
    return found[0] if found else None


def _unless(codes: str | Iterable[str], call: Callable[[], Any]) -> Any:
    """What `call` answers, or None where AWS refuses it with one of these codes."""
    try:
        return call()
    except ClientError as error:
        if code_of(error) in ([codes] if isinstance(codes, str) else codes):
            return None
        raise


# KMS


def _new_key(asked: Asked) -> Answer | None:
    kms, found, unread = asked.client("kms"), [], []
    for page in kms.get_paginator("list_keys").paginate():
        for arn in (one["KeyArn"] for one in page["Keys"] if one["KeyArn"] not in asked.known):
            try:
                if _is_of_run(asked, _tags_of_key(kms, arn)):
                    key = kms.describe_key(KeyId=arn)["KeyMetadata"]
                    if key["CreationDate"] >= asked.since:
                        found.append(key)
            except ClientError as error:
                if code_of(error) == "AccessDeniedException":
                    if not _is_older(asked, kms, arn):
                        unread.append(f"{arn} ({explain(error).what})")
                elif code_of(error) != "NotFoundException":  # not everywhere yet: asked again
                    raise
    if unread and not found:
        more = f", and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
        raise OutcomeUnknown(
            f"Whether {_called(asked)} made a key is not known: it may be one of these, which "
            f"cannot be looked at: {'; '.join(unread[:_NAMED])}{more}.",
            "Have the operator allowed kms:ListResourceTags and kms:DescribeKey on them, by their "
            "key policies too, and go on with the run. Or have whoever may read them look for the "
            f"tag {RUN_TAG} = {asked.run.run_id}: where none has it no key was made, and a new "
            "run loses nothing.",
        )
    arn = _only(asked, [key["Arn"] for key in found], "keys")
    return None if arn is None else {"KeyMetadata": found[0]}


_NAMED = 5
"""Keys that an error names."""


def _is_older(asked: Asked, kms: Any, arn: str) -> bool:
    """Whether a key is known to be of before the call, though its tags may not be read."""
    codes = ("AccessDeniedException", "NotFoundException")
    key = _unless(codes, lambda: kms.describe_key(KeyId=arn))
    return key is not None and key["KeyMetadata"]["CreationDate"] < asked.since


def _tags_of_key(kms: Any, arn: str) -> dict[str, str]:
    pages = kms.get_paginator("list_resource_tags").paginate(KeyId=arn)
    return {tag["TagKey"]: tag["TagValue"] for page in pages for tag in page["Tags"]}


def _is_of_run(asked: Asked, tags: Mapping[str, str]) -> bool:
    return tags.get(RUN_TAG) == asked.run.run_id


def _key(asked: Asked, key_id: str) -> dict[str, Any] | None:
    kms = asked.client("kms")
    answer = _unless("NotFoundException", lambda: kms.describe_key(KeyId=key_id))
    return None if answer is None else dict(answer["KeyMetadata"])


def _in_state(*states: str) -> Find:
    """The key is in one of these states; its metadata, with the date of its deletion."""

    def find(asked: Asked) -> Answer | None:
        key = _key(asked, asked.given["KeyId"])
        return key if key is not None and key["KeyState"] in states else None

    return find


def _alias_names_the_key(asked: Asked) -> Answer | None:
    key = _key(asked, asked.given["AliasName"])
    wanted = asked.given["TargetKeyId"]
    return {} if key is not None and wanted in (key["Arn"], key["KeyId"]) else None


def _no_alias(asked: Asked) -> Answer | None:
    return {} if _key(asked, asked.given["AliasName"]) is None else None


def _rotates(wanted: bool) -> Find:
    def find(asked: Asked) -> Answer | None:
        status = asked.client("kms").get_key_rotation_status(KeyId=asked.given["KeyId"])
        return {} if status["KeyRotationEnabled"] is wanted else None

    return find


def _key_policy(asked: Asked) -> Answer | None:
    kms, given = asked.client("kms"), asked.given
    now = kms.get_key_policy(KeyId=given["KeyId"], PolicyName="default")["Policy"]
    return {} if policies.same(json.loads(now), json.loads(given["Policy"])) else None


def _grants(asked: Asked) -> list[dict[str, Any]]:
    pages = asked.client("kms").get_paginator("list_grants").paginate(KeyId=asked.given["KeyId"])
    return [dict(grant) for page in pages for grant in page["Grants"]]


def _new_grant(asked: Asked) -> Answer | None:
    given = asked.given
    ours = [
        one["GrantId"]
        for one in _grants(asked)
        if one["GrantId"] not in asked.known
        and one["CreationDate"] >= asked.since
        and set(one["Operations"]) == set(given["Operations"])
        and all(
            one.get(name) == given.get(name)
            for name in ("GranteePrincipal", "RetiringPrincipal", "Constraints")
        )
    ]
    grant_id = _only(asked, ours, "grants")
    return None if grant_id is None else {"GrantId": grant_id}


def _no_grant(asked: Asked) -> Answer | None:
    return {} if asked.given["GrantId"] not in [one["GrantId"] for one in _grants(asked)] else None


# IAM


def _role(asked: Asked) -> dict[str, Any] | None:
    iam, name = asked.client("iam"), asked.given["RoleName"]
    answer = _unless("NoSuchEntity", lambda: iam.get_role(RoleName=name))
    return None if answer is None else dict(answer["Role"])


def _new_role(asked: Asked) -> Answer | None:
    role = _role(asked) or {}
    tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags", ())}
    return {} if _is_of_run(asked, tags) and role["CreateDate"] >= asked.since else None


def _no_role(asked: Asked) -> Answer | None:
    return {} if _role(asked) is None else None


def _role_policy(asked: Asked) -> dict[str, Any] | None:
    iam = asked.client("iam")
    of = {name: asked.given[name] for name in ("RoleName", "PolicyName")}
    answer = _unless("NoSuchEntity", lambda: iam.get_role_policy(**of))
    return None if answer is None else dict(answer["PolicyDocument"])


def _role_has_policy(asked: Asked) -> Answer | None:
    wanted = json.loads(asked.given["PolicyDocument"])
    return {} if policies.same(_role_policy(asked), wanted) else None


def _no_role_policy(asked: Asked) -> Answer | None:
    return {} if _role_policy(asked) is None else None


# Image Builder


def _builds(asked: Asked, version_arn: str) -> list[dict[str, Any]]:
    pages = asked.client("imagebuilder").get_paginator("list_workflow_build_versions")
    found = _unless(
        "ResourceNotFoundException",  # UNCONFIRMED for a version that is not there
        lambda: list(pages.paginate(workflowVersionArn=version_arn)),
    )
    return [dict(one) for page in found or () for one in page["workflowSummaryList"]]


def _new_workflow(asked: Asked) -> Answer | None:
    given, run = asked.given, asked.run
    path = policies.workflow_path(given["type"], given["name"])
    place = f"arn:{run.identity.partition}:imagebuilder:{run.region}:{run.identity.account}"
    return _new_build(
        asked,
        _builds(asked, f"{place}:{path}/{given['semanticVersion']}"),
        "workflowBuildVersionArn",
    )


def _new_build(asked: Asked, builds: Iterable[Mapping[str, Any]], name: str) -> Answer | None:
    """The build with the run's tag that the ledger does not know; GetWorkflow would use the key."""
    ours = [
        one["arn"]
        for one in builds
        if one["arn"] not in asked.known and _is_of_run(asked, one.get("tags", {}))
    ]
    arn = _only(asked, ours, "builds")
    return None if arn is None else {name: arn}


def _no_workflow(asked: Asked) -> Answer | None:
    arn = asked.given["workflowBuildVersionArn"]
    there = [one["arn"] for one in _builds(asked, arn.rpartition("/")[0])]
    return {} if arn not in there else None


def _new_image(asked: Asked) -> Answer | None:
    """An image has its recipe's name and version."""
    given = asked.given
    recipe = given.get("imageRecipeArn") or given["containerRecipeArn"]
    place, _, name = recipe.partition("-recipe/")
    version_arn = f"{place.rpartition(':')[0]}:image/{name}"
    pages = asked.client("imagebuilder").get_paginator("list_image_build_versions")
    builds = [
        one
        for page in pages.paginate(imageVersionArn=version_arn)
        for one in page["imageSummaryList"]
    ]
    return _new_build(asked, builds, "imageBuildVersionArn")


def _image_state(asked: Asked) -> str | None:
    builder, arn = asked.client("imagebuilder"), asked.given["imageBuildVersionArn"]
    answer = _unless(
        "ResourceNotFoundException", lambda: builder.get_image(imageBuildVersionArn=arn)
    )
    return None if answer is None else str(answer["image"]["state"]["status"])


def _cancelled(asked: Asked) -> Answer | None:
    return {} if _image_state(asked) in ("CANCELLED", "FAILED", "DELETED") else None


def _no_image(asked: Asked) -> Answer | None:
    return {} if _image_state(asked) is None else None


_GONE = frozenset({"NotFoundException", "NoSuchEntity", "ResourceNotFoundException"})
_PENDING = ("PendingDeletion", "PendingReplicaDeletion")

MAKES_ANOTHER: Final = frozenset({"kms:CreateKey", "kms:CreateGrant"})
"""The calls that make one more thing each time: AWS knows none of them by a token or a name."""

LOOK_UPS: Final[Mapping[str, LookUp]] = {
    "kms:CreateKey": LookUp("ListKeys, ListResourceTags, DescribeKey", _new_key),
    "kms:EnableKeyRotation": LookUp("GetKeyRotationStatus", _rotates(True)),
    "kms:DisableKeyRotation": LookUp("GetKeyRotationStatus", _rotates(False)),
    "kms:CreateAlias": LookUp(
        "DescribeKey of the alias", _alias_names_the_key, frozenset({"AlreadyExistsException"})
    ),
    "kms:DeleteAlias": LookUp("DescribeKey of the alias", _no_alias, _GONE),
    "kms:PutKeyPolicy": LookUp("GetKeyPolicy", _key_policy),
    "kms:CreateGrant": LookUp("ListGrants", _new_grant),
    "kms:RevokeGrant": LookUp("ListGrants", _no_grant, _GONE),
    "kms:EnableKey": LookUp("DescribeKey", _in_state("Enabled")),
    "kms:DisableKey": LookUp("DescribeKey", _in_state("Disabled")),
    "kms:ScheduleKeyDeletion": LookUp(
        "DescribeKey", _in_state(*_PENDING), frozenset({"KMSInvalidStateException"})
    ),
    "kms:CancelKeyDeletion": LookUp(
        "DescribeKey", _in_state("Disabled", "Enabled"), frozenset({"KMSInvalidStateException"})
    ),
    "iam:CreateRole": LookUp("GetRole", _new_role, frozenset({"EntityAlreadyExists"})),
    "iam:DeleteRole": LookUp("GetRole", _no_role, _GONE),
    "iam:PutRolePolicy": LookUp("GetRolePolicy", _role_has_policy),
    "iam:DeleteRolePolicy": LookUp("GetRolePolicy", _no_role_policy, _GONE),
    "imagebuilder:CreateWorkflow": LookUp("ListWorkflowBuildVersions", _new_workflow),
    "imagebuilder:DeleteWorkflow": LookUp("ListWorkflowBuildVersions", _no_workflow, _GONE),
    "imagebuilder:CreateImage": LookUp("ListImageBuildVersions", _new_image),
    "imagebuilder:CancelImageCreation": LookUp("GetImage", _cancelled),
    "imagebuilder:DeleteImage": LookUp("GetImage", _no_image, _GONE),
}
"""The look-up of each call that the runbook makes, by the call's name in AWS."""
