"""What is there: AWS's answer, or, while a run is planned, what the planned changes would leave.

A run that is planned as a whole looks ahead (`Run.after`): the changes of its earlier steps count
as made, and what AWS is still to give stands as its symbol.

AWS may show what is new some seconds late. What this run has just made is waited for, until
`settle_seconds` after it was made: it is not taken for missing.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
and https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from keyrunbook.aws import settle
from keyrunbook.aws.wait import NotYet, Pending, wait_until
from keyrunbook.parameters import settle_seconds
from keyrunbook.plan import Change, symbol
from keyrunbook.steps.common import or_none

if TYPE_CHECKING:
    from keyrunbook.session import Run


T = TypeVar("T")


def _once_it_shows(
    run: Run, look: Callable[[], T], made: str, gone: str, given: Mapping[str, Any]
) -> T:
    """What `look` gives; nothing, of what this run has just `made`, is looked for again.

    `made` and `gone` are the calls that make it and remove it, `given` tells which thing it is.
    """
    if found := look():
        return found
    newest = [
        (intent, outcome)
        for intent, outcome in run.ledger.served()
        if intent["call"] in (made, gone)
        and given.items() <= {**intent["parameters"], **outcome["gives"]}.items()
    ][-1:]
    if not newest or newest[0][0]["call"] != made:
        return found
    age_s = (run.now() - datetime.fromisoformat(newest[0][1]["time"])).total_seconds()
    answer = wait_until(
        lambda: look() or Pending(),
        max(settle_seconds(run.parameters, run.target) - age_s, 0),
        settle.INTERVAL_S[run.target],
        progress=run.waiting(f"what {made} made to show"),
    )
    return look() if isinstance(answer, NotYet) else answer


def _latest_first(run: Run) -> Iterator[tuple[str, Change]]:
    """The planned changes with their steps."""
    for plan in reversed(run.planned):
        for change in reversed(plan.changes):
            yield plan.step, change


def key(run: Run, key_id: str) -> dict[str, Any] | None:
    """KMS's metadata of the key with this ARN or alias, or None."""
    for step, change in _latest_first(run):
        given = change.parameters
        match change.call:
            case "kms:CreateKey" if symbol(step, "key_arn") == key_id:
                return _new_key(key_id)
            case "kms:CreateAlias" if given["AliasName"] == key_id:
                return key(run, given["TargetKeyId"])
            case "kms:DeleteAlias" if given["AliasName"] == key_id:
                return None
            case "kms:ScheduleKeyDeletion" if given["KeyId"] == key_id:
                return {**_new_key(key_id), "KeyState": "PendingDeletion"}
    kms = run.clients("kms")

    def look() -> Any:
        return or_none(lambda: kms.describe_key(KeyId=key_id), "NotFoundException")

    if ":key/" in key_id:
        answer = _once_it_shows(run, look, "kms:CreateKey", "", {"key_arn": key_id})
    else:
        alias = {"AliasName": key_id}
        answer = _once_it_shows(run, look, "kms:CreateAlias", "kms:DeleteAlias", alias)
    return dict(answer["KeyMetadata"]) if answer else None


def _new_key(arn: str) -> dict[str, Any]:
    """What DescribeKey will say of a key that is still to be made, as far as plans look at it."""
    return {
        "Arn": arn,
        "KeyId": arn,
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Enabled": True,
    }


def rotates(run: Run, key_arn: str) -> bool:
    """Whether the key's material rotates by itself."""
    for step, change in _latest_first(run):
        match change.call:
            case "kms:EnableKeyRotation" if change.parameters["KeyId"] == key_arn:
                return True
            case "kms:DisableKeyRotation" if change.parameters["KeyId"] == key_arn:
                return False
            case "kms:CreateKey" if symbol(step, "key_arn") == key_arn:
                return False
    return bool(run.clients("kms").get_key_rotation_status(KeyId=key_arn)["KeyRotationEnabled"])


def key_policy(run: Run, key_arn: str) -> dict[str, Any]:
    """The key's policy document."""
    return dict(json.loads(key_policy_text(run, key_arn)))


def key_policy_text(run: Run, key_arn: str) -> str:
    """The key's policy as KMS gives it, or the text that is to be sent."""
    for step, change in _latest_first(run):
        given = change.parameters
        match change.call:
            case "kms:PutKeyPolicy" if given["KeyId"] == key_arn:
                return str(given["Policy"])
            case "kms:CreateKey" if symbol(step, "key_arn") == key_arn:
                return str(given["Policy"])
    answer = run.clients("kms").get_key_policy(KeyId=key_arn, PolicyName="default")
    return str(answer["Policy"])


def grants(run: Run, key_arn: str) -> list[dict[str, Any]]:
    """The key's grants, as ListGrants has them."""
    changed = [
        (plan.step, change) for plan in run.planned for change in plan if change.service == "kms"
    ]
    if any(symbol("01_create_key", "key_arn") == key_arn for _ in changed):
        return []  # a key that is still to be made
    pages = run.clients("kms").get_paginator("list_grants").paginate(KeyId=key_arn)
    found = [dict(grant) for page in pages for grant in page["Grants"]]
    for step, change in changed:
        given = dict(change.parameters)
        if change.call == "kms:RevokeGrant":
            found = [one for one in found if one["GrantId"] != given["GrantId"]]
        elif change.call == "kms:CreateGrant":
            found.append({"GrantId": symbol(step, next(iter(change.gives))), **given})
    return found


def role(run: Run, name: str) -> str | None:
    """The ARN of the role of that name, or None."""
    for _, change in _latest_first(run):
        given = change.parameters
        match change.call:
            case "iam:CreateRole" if given["RoleName"] == name:
                who = run.identity
                return f"arn:{who.partition}:iam::{who.account}:role{given['Path']}{name}"
            case "iam:DeleteRole" if given["RoleName"] == name:
                return None
    iam, given = run.clients("iam"), {"RoleName": name}

    def look() -> Any:
        return or_none(lambda: iam.get_role(**given)["Role"], "NoSuchEntity")

    found = _once_it_shows(run, look, "iam:CreateRole", "iam:DeleteRole", given)
    return str(found["Arn"]) if found else None


def role_policy(run: Run, role_name: str, policy_name: str) -> dict[str, Any] | None:
    """The role's inline policy of that name, or None; also where there is no such role."""
    wanted = (role_name, policy_name)
    for _, change in _latest_first(run):
        given = change.parameters
        match change.call:
            case "iam:PutRolePolicy" if (given["RoleName"], given["PolicyName"]) == wanted:
                return dict(json.loads(given["PolicyDocument"]))
            case "iam:DeleteRolePolicy" if (given["RoleName"], given["PolicyName"]) == wanted:
                return None
            case "iam:CreateRole" if given["RoleName"] == role_name:
                return None
    iam, given = run.clients("iam"), {"RoleName": role_name, "PolicyName": policy_name}

    def look() -> Any:
        return or_none(lambda: iam.get_role_policy(**given)["PolicyDocument"], "NoSuchEntity")

    found = _once_it_shows(run, look, "iam:PutRolePolicy", "iam:DeleteRolePolicy", given)
    return None if found is None else dict(found)


def role_policies(run: Run, role_name: str) -> list[str]:
    """The names of the role's inline policies, and the ARNs of those that are attached to it."""
    if any(
        change.call == "iam:CreateRole" and change.parameters["RoleName"] == role_name
        for _, change in _latest_first(run)
    ):
        return []  # a role that is still to be made has this run's policy alone
    iam, owner = run.clients("iam"), {"RoleName": role_name}
    return [
        *(
            name
            for page in iam.get_paginator("list_role_policies").paginate(**owner)
            for name in page["PolicyNames"]
        ),
        *(
            one["PolicyArn"]
            for page in iam.get_paginator("list_attached_role_policies").paginate(**owner)
            for one in page["AttachedPolicies"]
        ),
    ]


def workflow_builds(run: Run, version_arn: str) -> list[str]:
    """The ARNs of a workflow version's builds."""
    pages = run.clients("imagebuilder").get_paginator("list_workflow_build_versions")
    found = or_none(
        lambda: list(pages.paginate(workflowVersionArn=version_arn)),
        "ResourceNotFoundException",  # UNCONFIRMED for a version that is not there
    )
    return [one["arn"] for page in found or () for one in page["workflowSummaryList"]]


def is_there(run: Run, workflow_arn: str) -> bool:
    """Whether the workflow build is there."""
    for step, change in _latest_first(run):
        making = change.call == "imagebuilder:CreateWorkflow"
        if making and symbol(step, "workflow_arn") == workflow_arn:
            return True
    return workflow_arn in workflow_builds(run, workflow_arn.rpartition("/")[0])


def made(run: Run, call: str) -> list[dict[str, Any]]:
    """What each `call` of this run that AWS served was given, and what it answered for the ledger.

    The outcome is written right after the call, so this holds too when a run died later on.
    """
    served = [
        {**intent["parameters"], **outcome["gives"]}
        for intent, outcome in run.ledger.served()
        if intent["call"] == call
    ]
    for plan in run.planned:
        served += [
            {**change.parameters, **{name: symbol(plan.step, name) for name in change.gives}}
            for change in plan
            if change.call == call
        ]
    return served
