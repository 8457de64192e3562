"""Which operations a run with `read_only` can call: each of the SDK's is decided, one way only."""

from __future__ import annotations

import botocore.session
import pytest
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.aws.reading import BY_NAME, WORDS, first_word, reads
from keyrunbook.errors import ReadOnly
from keyrunbook.sandboxes import Sandbox

# The first words of the operations that do more than read, decided one by one. A word that a later
# SDK brings is in neither list: `reads` refuses it, and this test asks for a decision.
CHANGING = {
    "athena": "Cancel Create Delete Export Import Put Start Stop Tag Terminate Untag Update",
    "cloudtrail": "Add Cancel Create Delete Deregister Disable Enable Generate Put Register Remove "
    "Restore Search Start Stop Update",
    "iam": "Accept Acquire Add Associate Attach Change Create Deactivate Delete Detach Disable "
    "Enable Generate Put Reject Remove Reset Resync Send Set Tag Untag Update Upload",
    "imagebuilder": "Cancel Create Delete Distribute Import Put Retry Send Start Tag Untag Update",
    "kms": "Cancel Connect Create Decapsulate Decrypt Delete Derive Disable Disconnect Enable "
    "Encapsulate Encrypt Generate Import Put Re Replicate Retire Revoke Rotate Schedule Sign Tag "
    "Untag Update Verify",
    "s3": "Abort Complete Copy Create Delete Put Rename Restore Select Update Upload Write",
    "sts": "Assume Get",  # those of STS that only read are named
}


def operations() -> list[tuple[str, str]]:
    session = botocore.session.Session()
    return [
        (service, name)
        for service in WORDS
        for name in session.get_service_model(service).operation_names
    ]


def test_every_operation_is_decided() -> None:
    undecided = [
        (service, name)
        for service, name in operations()
        if not reads(service, name)
        and (service, name) not in BY_NAME
        and first_word(name) not in CHANGING[service].split()
    ]
    assert undecided == []


def test_no_word_is_decided_both_ways_or_for_nothing() -> None:
    for service, words in WORDS.items():
        there = {
            first_word(name)
            for one, name in operations()
            if one == service and (one, name) not in BY_NAME
        }
        changing = set(CHANGING[service].split())
        assert not words & changing
        assert words | changing == there
    assert BY_NAME.keys() <= set(operations())


@pytest.mark.parametrize(
    ("service", "operation", "reading"),
    [
        ("athena", "GetQueryResults", True),
        ("athena", "StartQueryExecution", False),  # by its name alone
        ("athena", "StopQueryExecution", True),
        ("athena", "StopCalculationExecution", False),
        ("athena", "GetSessionEndpoint", False),
        ("kms", "DescribeKey", True),
        ("kms", "GetKeyPolicy", True),
        ("kms", "GetParametersForImport", False),
        ("kms", "CreateKey", False),
        ("kms", "Decrypt", False),
        ("kms", "FrobnicateKey", False),
        ("imagebuilder", "GetWorkflow", True),
        ("imagebuilder", "CreateImage", False),
        ("cloudtrail", "LookupEvents", True),
        ("iam", "SimulatePrincipalPolicy", True),
        ("iam", "GenerateCredentialReport", False),
        ("sts", "GetCallerIdentity", True),
        ("sts", "GetSessionToken", False),
        ("sts", "AssumeRole", False),
        ("ec2", "DescribeInstances", False),  # a service that nobody has looked at
        ("kms", "getKey", False),
        ("kms", "", False),
    ],
)
def test_the_table(service: str, operation: str, reading: bool) -> None:
    assert reads(service, operation) is reading


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("SELECT 1", True),
        ("\n  select eventid FROM logs", True),
        ("DROP TABLE logs", False),
        ("CREATE TABLE a AS SELECT 1", False),
        ("INSERT INTO a SELECT 1", False),
        ("UNLOAD (SELECT 1) TO 's3://b'", False),
        ("SELECTED", False),
        ("WITH a AS (SELECT 1) SELECT 2", False),  # it reads, and nobody here asks so
        ("", False),
    ],
)
def test_a_query_reads_if_it_is_a_select(text: str, reading: bool) -> None:
    assert reads("athena", "StartQueryExecution", {"QueryString": text}) is reading
    assert not reads("athena", "StartQueryExecution", {})


@pytest.mark.e2e
def test_clients_that_only_read_send_nothing_else(sandbox: Sandbox) -> None:
    """Not the ordinary client, not the one that sends once, of no service; and each reads."""
    clients = sandbox_clients(sandbox.ready(), read_only=True)
    sent: list[str] = []
    for service, operation, given in (
        ("kms", "create_key", {}),
        ("kms", "put_key_policy", {"KeyId": "k", "Policy": "{}", "DryRun": True}),
        ("imagebuilder", "create_image", {"dryRun": True}),
        ("iam", "create_role", {"RoleName": "r", "AssumeRolePolicyDocument": "{}"}),
        ("cloudtrail", "create_trail", {"Name": "t", "S3BucketName": "b"}),
        ("s3", "put_object", {"Bucket": "b", "Key": "k"}),
        ("athena", "start_query_execution", {"QueryString": "DROP TABLE logs"}),
        ("sts", "assume_role", {"RoleArn": "r" * 20, "RoleSessionName": "s"}),
    ):
        for client in (clients(service), clients.once(service), clients(service, "eu-west-1")):
            client.meta.events.register("before-send", lambda request, **_: sent.append(request))
            with pytest.raises(ReadOnly, match="was not sent: the run may only read") as caught:
                getattr(client, operation)(**given)
            assert caught.value.exit_status == 4
    assert sent == []
    assert clients("kms").list_keys()["Keys"] is not None
    assert clients.identity.account


@pytest.mark.e2e
def test_other_clients_change_what_they_may(clients: Clients) -> None:
    assert clients("kms").create_key()["KeyMetadata"]["Arn"]
