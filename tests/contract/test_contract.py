"""What AWS does, held by tests that run unchanged on the sandbox and on an account (--live).

Where one fails on AWS, the sandbox is what has to change.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from contract_place import Place, refused
from keyrunbook.parameters import Parameters, workflow_document
from keyrunbook.policies import (
    administrators_policy,
    execution_role_statement,
    printed_administrators_statement,
    with_statement,
)
from keyrunbook.records import IMAGE_BUILDER

pytestmark = pytest.mark.e2e

DOCUMENT = workflow_document(Parameters())
KMS_NEEDED = ("kms:GenerateDataKey", "kms:Decrypt")


# Who must be allowed


def test_create_workflow_needs_its_caller_s_access_to_the_key_not_the_execution_role_s(
    place: Place,
) -> None:
    """The page gives the role access; the documented records say that the caller uses the key.

    Costs: a key for some seconds, two workflows (nothing). Takes up to some minutes on AWS.
    """
    role = place.role("execution", service=IMAGE_BUILDER)
    policy = administrators_policy(place.partition, place.account)
    use = execution_role_statement(place.name, role, place.partition, place.account)
    key = place.eventually(lambda: place.key(with_statement(policy, use)))
    operator = place.role("operator")
    place.allow(operator, "workflows", "imagebuilder:*")
    client = place.become(operator)
    # The operator may create workflows,
    place.eventually(lambda: place.workflow(client, "plain", data=DOCUMENT))
    # but not under the key, which the execution role may use,
    _, text = refused(lambda: place.workflow(client, "under", data=DOCUMENT, kmsKeyId=key))
    assert "kms:" in text or "KMS" in text
    # and may once it can use the key itself.
    place.allow(operator, "key", *KMS_NEEDED, resource=key)
    made = place.eventually(lambda: place.workflow(client, "under", data=DOCUMENT, kmsKeyId=key))
    found = client("imagebuilder").get_workflow(workflowBuildVersionArn=made)["workflow"]
    assert found["kmsKeyId"] == key
    assert found["data"] == DOCUMENT


# Key policies that KMS refuses


def too_long(place: Place) -> dict[str, Any]:
    policy = administrators_policy(place.partition, place.account)
    return with_statement(policy, {**policy["Statement"][0], "Sid": "x" * 33_000})


def nobody(place: Place) -> dict[str, Any]:
    policy = administrators_policy(place.partition, place.account)
    missing = f"arn:{place.partition}:iam::{place.account}:role/{place.name}-nobody"
    return with_statement(
        policy, {**policy["Statement"][0], "Sid": "nobody", "Principal": {"AWS": missing}}
    )


def as_printed(place: Place) -> dict[str, Any]:
    statement = printed_administrators_statement(place.account)
    return json.loads(  # type: ignore[no-any-return]
        json.dumps({"Version": "2012-10-17", "Statement": [statement]}).replace(
            "arn:aws:", f"arn:{place.partition}:"
        )
    )


MALFORMED = "MalformedPolicyDocumentException"
REFUSED: list[tuple[Callable[[Place], dict[str, Any]], str, str]] = [
    (as_printed, MALFORMED, "will not allow you to update the key policy in the future"),
    (nobody, MALFORMED, "invalid principals"),
    (lambda place: {"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}, MALFORMED, ""),
    (too_long, "LimitExceededException", ""),
]


@pytest.mark.parametrize(
    ("policy", "code", "words"), REFUSED, ids=["as printed", "nobody", "malformed", "too long"]
)
def test_key_policies_that_kms_refuses(
    place: Place, policy: Callable[[Place], dict[str, Any]], code: str, words: str
) -> None:
    """For a new key and for one that is there, whose policy then stays. Costs: a key for seconds.

    Sources: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html and
    https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
    """
    # Sent once: the SDK takes LimitExceededException for throttling, and would try again.
    kms, text = place.clients.once("kms"), json.dumps(policy(place))
    key = place.key()
    before = kms.get_key_policy(KeyId=key)["Policy"]
    for call in (
        lambda: place.key(policy(place)),
        lambda: kms.put_key_policy(KeyId=key, Policy=text),
    ):
        found, said = refused(call)
        assert found == code
        assert words in said
    assert kms.get_key_policy(KeyId=key)["Policy"] == before


# Dry runs


def test_a_dry_run_is_an_error_that_says_so_and_makes_nothing(place: Place) -> None:
    """Costs: a key for some seconds; a dry run of KMS is a request like another.

    Sources: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html and
    https://docs.aws.amazon.com/imagebuilder/latest/userguide/dry-run-resources.html
    """
    key, kms = place.key(), place.clients("kms")
    asked = {"KeyId": key, "KeySpec": "AES_256", "DryRun": True}
    assert refused(lambda: kms.generate_data_key(**asked))[0] == "DryRunOperationException"
    asked = {"data": DOCUMENT, "kmsKeyId": key, "dryRun": True}
    found, _ = refused(lambda: place.workflow(place.clients, "dry", **asked))
    assert found == "DryRunOperationException"
    pages = place.clients("imagebuilder").get_paginator("list_workflows").paginate(owner="Self")
    names = [one["name"] for page in pages for one in page["workflowVersionList"]]
    assert f"{place.name}-dry" not in names


def test_a_dry_run_of_what_one_may_not_do_is_refused_as_the_call_is(place: Place) -> None:
    """Costs: a key for some seconds."""
    key, role = place.key(), place.role("nobody")
    kms = place.become(role)("kms")
    for dry in (True, False):
        ask = partial(kms.generate_data_key, KeyId=key, KeySpec="AES_256", DryRun=dry)
        code, text = refused(ask)
        assert code == "AccessDeniedException"
        assert "kms:GenerateDataKey" in text


# Keys and aliases


def test_keys_and_aliases_are_found_by_name_and_listed(place: Place) -> None:
    """Costs: two keys for some seconds.

    Sources: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html and
    https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html
    """
    key, other, kms = place.key(), place.key(), place.clients("kms")
    name = f"alias/{place.name}"
    assert refused(lambda: kms.describe_key(KeyId=name))[0] == "NotFoundException"
    place.alias(name, key)
    metadata = place.eventually(lambda: kms.describe_key(KeyId=name))["KeyMetadata"]
    assert (metadata["Arn"], metadata["KeyState"]) == (key, "Enabled")
    assert refused(lambda: kms.create_alias(AliasName=name, TargetKeyId=other))[0] == (
        "AlreadyExistsException"
    )
    assert refused(lambda: kms.create_alias(AliasName="alias/aws/mine", TargetKeyId=other))[0] in (
        "NotAuthorizedException",  # what the service does; its API page names neither
        "InvalidAliasNameException",
    )
    pages = kms.get_paginator("list_aliases").paginate(KeyId=key)
    assert [one["AliasName"] for page in pages for one in page["Aliases"]] == [name]
    keys = kms.get_paginator("list_keys").paginate()
    assert {key, other} <= {one["KeyArn"] for page in keys for one in page["Keys"]}
    # An alias is not a name for every call
    assert refused(lambda: kms.get_key_policy(KeyId=name))[0] in (
        "NotFoundException",
        "InvalidArnException",
    )
