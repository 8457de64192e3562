"""Builds the two statements of the job, and puts them into policies that others wrote.

Pure: documents in, documents out. The judge of policies is another package (`iamaccess`) and
shares no code with this builder.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Document = dict[str, Any]

VERSION = "2012-10-17"
CONTEXT_KEY = "kms:EncryptionContext:aws:imagebuilder:arn"
ACTIONS = ["kms:Decrypt", "kms:GenerateDataKey"]
KEY_POLICY_LIMIT_BYTES = 32_768
"""Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html"""


def sid(purpose: str, run_id: str) -> str:
    """The Sid by which this run knows a statement of its own: letters and digits only.

    A key policy's Sid may hold spaces; an IAM policy's may not, so ours never does. Where the run's
    id loses its dashes, a digest of it keeps the Sids of two runs apart.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html
    """
    plain = re.sub(r"[^A-Za-z0-9]", "", run_id)
    mark = "" if plain == run_id else hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{purpose}{plain}{mark}"


def workflow_path(kind: str, name: str) -> str:
    """The part of a workflow's ARN that names it: ``workflow/build/my-name``.

    ARNs have neither capitals nor spaces; that an underscore becomes a dash is UNCONFIRMED.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_Workflow.html
    """
    return f"workflow/{kind.lower()}/{name.lower().replace(' ', '-').replace('_', '-')}"


def workflow_pattern(partition: str, account: str) -> str:
    """The context value that every workflow of the account has, in all Regions.

    Image Builder's context ends in a literal ``/1.0.0/*``, never in a build number, so a pattern
    over the workflow's whole name is what matches it.
    """
    return f"arn:{partition}:imagebuilder:*:{account}:workflow/*"


def _workflows_only(partition: str, account: str) -> Document:
    return {"StringLike": {CONTEXT_KEY: workflow_pattern(partition, account)}}


def execution_role_statement(run_id: str, role_arn: str, partition: str, account: str) -> Document:
    """Step 1 of the page: what the key policy says of the execution role."""
    return {
        "Sid": sid("WorkflowKeyUse", run_id),
        "Effect": "Allow",
        "Principal": {"AWS": role_arn},
        "Action": list(ACTIONS),
        "Resource": "*",
        "Condition": _workflows_only(partition, account),
    }


def revoked_statement(run_id: str, role_arn: str, partition: str, account: str) -> Document:
    """What closes every path of the execution role at once: a Deny is stronger than any Allow.

    It denies no more than the job's statements allow, workflows, and re-encrypting them under
    another key; so whatever else the role does with the key goes on.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """
    return {
        "Sid": sid("WorkflowKeyRevoked", run_id),
        "Effect": "Deny",
        "Principal": {"AWS": role_arn},
        "Action": [*ACTIONS, "kms:ReEncryptFrom"],
        "Resource": "*",
        "Condition": _workflows_only(partition, account),
    }


def role_policy(run_id: str, key_arn: str, partition: str, account: str) -> Document:
    """Step 2 of the page: what the execution role's own policy says of the key."""
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Sid": sid("AllowAccessToWorkflowKey", run_id),
                "Effect": "Allow",
                "Action": list(ACTIONS),
                "Resource": key_arn,
                "Condition": _workflows_only(partition, account),
            }
        ],
    }


def administrators_policy(partition: str, account: str) -> Document:
    """The key policy that a new key starts with: the account's IAM policies decide.

    It is what KMS itself gives a key that is made without a policy.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Sid": "Allow access for key administrators",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }


def trust_policy(account: str) -> Document:
    """Who may assume the execution role: Image Builder, and only on behalf of this account.

    Image Builder has this name in every partition: AWS documents none that ends in .cn.
    """
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "imagebuilder.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": account}},
            }
        ],
    }


def with_statement(policy: Mapping[str, Any], statement: Mapping[str, Any]) -> Document:
    """`policy` with `statement` in the place of the one with its Sid, or at the end.

    All other statements stay as they are and where they are.
    """
    result = copy.deepcopy(dict(policy))
    statements = _statements(result)
    for index, present in enumerate(statements):
        if present.get("Sid") == statement["Sid"]:
            statements[index] = copy.deepcopy(dict(statement))
            break
    else:
        statements.append(copy.deepcopy(dict(statement)))
    result["Statement"] = statements
    return result


def without_statement(policy: Mapping[str, Any], sid: str) -> Document:
    """`policy` without the statement of that Sid."""
    return _kept(policy, lambda one: one.get("Sid") != sid)


def _kept(policy: Mapping[str, Any], wanted: Callable[[Document], bool]) -> Document:
    result = copy.deepcopy(dict(policy))
    result["Statement"] = [one for one in _statements(result) if wanted(one)]
    return result


def allows_only(statement: Mapping[str, Any], role_arn: str) -> bool:
    """Whether a statement allows this role, or its sessions, and nobody else."""
    principal = statement.get("Principal")
    named = principal.get("AWS", []) if isinstance(principal, Mapping) else []
    names = [named] if isinstance(named, str) else named
    return (
        statement.get("Effect") == "Allow"
        and isinstance(principal, Mapping)
        and set(principal) == {"AWS"}
        and bool(names)
        and all(is_role(name, role_arn) for name in names)
    )


def made_by_hand(policy: Mapping[str, Any], statement: Mapping[str, Any]) -> list[Document]:
    """The statements of others that say what `statement` says, under whatever Sid, or none.

    So does one that somebody wrote from AWS's page.
    """
    return [one for one in _statements(policy) if says_the_same(one, statement)]


def says_the_same(one: Mapping[str, Any], statement: Mapping[str, Any]) -> bool:
    """Whether `one` is another statement that says what `statement` says, whatever its Sid."""
    named = {**one, "Sid": statement["Sid"]}
    return one.get("Sid") != statement["Sid"] and same(named, statement)


def is_role(principal: str, role_arn: str) -> bool:
    """Whether a principal is the role, or a session of it (which has the role's name, no path)."""
    service, _, rest = role_arn.partition(":role/")
    sessions = f"{service.replace(':iam:', ':sts:')}:assumed-role/{rest.rpartition('/')[2]}/"
    return principal == role_arn or principal.startswith(sessions)


def besides(policy: Mapping[str, Any], known: Mapping[str, Any], own: Iterable[str]) -> list[str]:
    """The names of the statements that are neither those of `known` nor have a Sid of `own`."""
    mine, was = set(own), _statements(known)
    return [
        _name(number, one)
        for number, one in enumerate(_statements(policy), 1)
        if one.get("Sid") not in mine and not _among(one, was)
    ]


def _name(number: int, statement: Mapping[str, Any]) -> str:
    return repr(statement["Sid"]) if "Sid" in statement else f"number {number}"


_UNIQUE_ID = re.compile(r"A(?:IDA|ROA)[A-Z0-9]{12,}")


def gone_principals(policy: Mapping[str, Any]) -> str:
    """Which statements name a user or role that is gone, in words; empty where none does.

    A policy shows its unique id in the place of its ARN then. KMS takes no such policy.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    found = []
    for number, one in enumerate(_statements(policy), 1):
        principal = one.get("Principal", one.get("NotPrincipal"))
        named = principal.get("AWS", []) if isinstance(principal, Mapping) else []
        names = [named] if isinstance(named, str) else named
        if ids := [name for name in names if _UNIQUE_ID.fullmatch(name)]:
            found.append(
                f"its statement {_name(number, one)} names {', '.join(ids)}, which is gone"
            )
    return "; ".join(found)


def merged(now: Mapping[str, Any], before: Mapping[str, Any], left: Mapping[str, Any]) -> Document:
    """`now` with what made `left` of `before` taken back, statement by statement.

    What others changed since stays.
    """
    taken = [one for one in _statements(before) if not _among(one, _statements(left))]
    added = [one for one in _statements(left) if not _among(one, _statements(before))]
    result = _kept(now, lambda one: not _among(one, added))
    there = result["Statement"]
    result["Statement"] = [*there, *(one for one in taken if not _among(one, there))]
    return result


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The lines that tell two policies apart: ``-`` only in `one`, ``+`` only in `other`."""
    before, after = (to_text(plain(dict(each))).splitlines() for each in (one, other))
    compared = difflib.unified_diff(before, after, lineterm="", n=1)
    return [line for line in compared if not line.startswith(("---", "+++", "@@"))]


def _among(statement: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> bool:
    return any(same(statement, other) for other in others)


def statement_of(policy: Mapping[str, Any], sid: str) -> Document | None:
    """The statement with that Sid, or None."""
    return next((one for one in _statements(policy) if one.get("Sid") == sid), None)


def sids(policy: Mapping[str, Any]) -> list[str]:
    """The Sids of a policy's statements, of those that have one."""
    return [str(one["Sid"]) for one in _statements(policy) if "Sid" in one]


def _statements(policy: Mapping[str, Any]) -> list[Document]:
    """The statements of a policy, whose one statement may stand without a list."""
    statements = policy.get("Statement", [])
    return [dict(statements)] if isinstance(statements, Mapping) else list(statements)


def same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two documents say the same, whatever AWS did to a one-element list."""
    return bool(plain(one) == plain(other))


def plain(value: Any) -> Any:
    """A document in one form for all that say the same: lists in order, lists of one as the one."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [plain(item) for item in value]
        return items[0] if len(items) == 1 else sorted(items, key=_text)
    return value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def to_text(policy: Mapping[str, Any]) -> str:
    """The document as it is sent, indented as the console shows it."""
    return json.dumps(policy, indent=2)


# The page's own documents, as printed, to teach why they are not sent as they are.


def printed_administrators_statement(account: str) -> Document:
    """The page's second key policy statement: its Resource ends in ``key/`` and matches no key."""
    return {
        "Sid": "Allow access for key administrators",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["kms:*"],
        "Resource": f"arn:aws:kms:*:{account}:key/",
    }


def printed_role_policy(key_arn: str, account: str) -> Document:
    """The page's role policy: its Sid has spaces, which IAM refuses."""
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Sid": "Allow access to the workflow key",
                "Effect": "Allow",
                "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
                "Resource": key_arn,
                "Condition": {
                    "StringLike": {CONTEXT_KEY: f"arn:aws:imagebuilder:*:{account}:workflow/*"}
                },
            }
        ],
    }
