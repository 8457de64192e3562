"""Image Builder's workflows by real calls: made, encrypted, read, listed, deleted, and refused.

Sources: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateWorkflow.html and
the other operations' pages;
https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html (encryption);
https://docs.aws.amazon.com/imagebuilder/latest/userguide/ibhow-semantic-versioning.html;
https://docs.aws.amazon.com/imagebuilder/latest/userguide/dry-run-resources.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from awssandbox.imagebuilder import ImageBuilderState
from awssandbox.imagebuilder.versions import Version
from botocore.exceptions import ClientError
from served import ACCOUNT, REGION, Credentials, Served, document, refusal

DOCUMENT = """\
schemaVersion: 1.0
parameters:
  - name: reboot
    type: boolean
    default: false
    description: Whether to restart.
steps:
  - name: LaunchBuildInstance
    action: LaunchInstance
    onFailure: Abort
    inputs:
      waitFor: ssmAgent
"""
CHANGED = DOCUMENT.replace("LaunchBuildInstance", "LaunchIt")
TEST_DOCUMENT = DOCUMENT.replace("LaunchBuildInstance", "LaunchTestInstance")
ANY = {"Effect": "Allow", "Action": "*", "Resource": "*"}
ROOT = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:workflow"
WORKFLOWS = Path(__file__).parents[3] / "notebooks" / "workflows"


def create(client: Any, **changes: Any) -> Any:
    """CreateWorkflow of the one workflow of these tests; None leaves a parameter out."""
    given: dict[str, Any] = {
        "name": "example",
        "semanticVersion": "1.0.0",
        "type": "BUILD",
        "data": DOCUMENT,
    } | changes
    return client.create_workflow(
        **{name: value for name, value in given.items() if value is not None}
    )


def allowed(client: Any, **changes: Any) -> bool:
    """Whether KMS lets CreateWorkflow use the key."""
    try:
        create(client, **changes)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ForbiddenException":
            return False
        raise
    return True


def made(client: Any, **changes: Any) -> str:
    """The build version ARN of a new workflow."""
    arn: str = create(client, **changes)["workflowBuildVersionArn"]
    return arn


def new_key(sandbox: Served, **more: Any) -> str:
    arn: str = sandbox.client("kms").create_key(**more)["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def client(sandbox: Served) -> Any:
    return sandbox.client("imagebuilder")


# CreateWorkflow: parameters ----------------------------------------------------------------------


def test_what_create_and_get_answer(client: Any) -> None:
    answer = create(
        client,
        name="Sample_Encrypted Workflow",
        description="what",
        changeDescription="why",
        tags={"team": "images"},
        clientToken="token",
    )
    path = f"{ROOT}/build/sample-encrypted-workflow"
    references = {
        "latestVersionArn": f"{path}/x.x.x",
        "latestMajorVersionArn": f"{path}/1.x.x",
        "latestMinorVersionArn": f"{path}/1.0.x",
        "latestPatchVersionArn": f"{path}/1.0.0",
    }
    del answer["ResponseMetadata"]
    assert answer == {
        "clientToken": "token",
        "workflowBuildVersionArn": f"{path}/1.0.0/1",
        "latestVersionReferences": references,
    }
    read = client.get_workflow(workflowBuildVersionArn=f"{path}/1.0.0/1")
    assert read["latestVersionReferences"] == references
    created = read["workflow"].pop("dateCreated")
    assert created.startswith("2026-01-31T09:00:")
    assert created.endswith("Z")
    assert read["workflow"] == {
        "arn": f"{path}/1.0.0/1",
        "name": "Sample_Encrypted Workflow",
        "version": "1.0.0",
        "description": "what",
        "changeDescription": "why",
        "type": "BUILD",
        "owner": ACCOUNT,
        "data": DOCUMENT,
        "tags": {"team": "images"},
        "parameters": [
            {
                "name": "reboot",
                "type": "boolean",
                "defaultValue": ["false"],
                "description": "Whether to restart.",
            }
        ],
    }


VALUE = ("InvalidParameterValueException", 400)
COMBINATION = ("InvalidParameterCombinationException", 400)
INVALID: list[tuple[str, Mapping[str, Any], tuple[str, int], str]] = [
    ("a name of 2 characters", {"name": "ab"}, VALUE, "'name'"),
    ("a name of 129 characters", {"name": "a" * 129}, VALUE, "'name'"),
    ("a name that begins with a space", {"name": " abc"}, VALUE, "'name'"),
    ("a name with a slash", {"name": "a/b/c"}, VALUE, "'name'"),
    ("a version of two nodes", {"semanticVersion": "1.0"}, VALUE, "'semanticVersion'"),
    ("a version with a wildcard", {"semanticVersion": "1.0.x"}, VALUE, "'semanticVersion'"),
    (
        "a node above 2^30-1",
        {"semanticVersion": "1073741824.0.0"},
        ("InvalidVersionNumberException", 400),
        "out of bounds",
    ),
    ("a type that does not exist", {"type": "DEPLOY"}, VALUE, "BUILD, TEST, DISTRIBUTION"),
    ("a type in other letter case", {"type": "build"}, VALUE, "'type'"),
    ("neither data nor uri", {"data": None}, COMBINATION, "exactly one"),
    ("both data and uri", {"uri": "s3://bucket/key"}, COMBINATION, "not both"),
    ("data of 16,001 characters", {"data": "#" * 16001}, VALUE, "at most 16,000"),
    ("data with a null character", {"data": f"{DOCUMENT}# \0"}, VALUE, "'data'"),
    ("data that is no document", {"data": "steps: ["}, VALUE, "'data'"),
    ("an empty description", {"description": ""}, VALUE, "'description'"),
    ("a description of 1,025 characters", {"description": "x" * 1025}, VALUE, "'description'"),
    ("no tag in tags", {"tags": {}}, VALUE, "'tags'"),
    ("51 tags", {"tags": {f"k{n}": "v" for n in range(51)}}, VALUE, "'tags'"),
    ("a tag key of AWS's", {"tags": {"aws:team": "x"}}, VALUE, "'tags'"),
    ("a client token of 65 characters", {"clientToken": "t" * 65}, VALUE, "'clientToken'"),
    ("an empty key", {"kmsKeyId": ""}, VALUE, "'kmsKeyId'"),
    ("a key's bare id", {"kmsKeyId": "1" * 8 + "-1111" * 3 + "-" + "1" * 12}, VALUE, "key ARN"),
    ("an alias's bare name", {"kmsKeyId": "alias/mine"}, VALUE, "alias ARN"),
    (
        "an ARN of another service",
        {"kmsKeyId": f"arn:aws:s3:{REGION}:{ACCOUNT}:key/x"},
        VALUE,
        "'kmsKeyId'",
    ),
]


def test_what_create_workflow_refuses(sandbox: Served) -> None:
    """With the dry run too: it answers the same error as the real request."""
    client = sandbox.client("imagebuilder", parameter_validation=False)
    for what, changes, expected, told in INVALID:
        for dry in ({}, {"dryRun": True}):
            code, status, message = refusal(create, client, **changes, **dry)
            assert (code, status) == expected, f"{what}: {message}"
            assert told in message, f"{what}: {message}"
    assert client.list_workflows()["workflowVersionList"] == []
    assert sandbox.records("GenerateDataKey") == []


def test_what_is_required(sandbox: Served) -> None:
    client = sandbox.client("imagebuilder", parameter_validation=False)
    for name in ("name", "semanticVersion", "type"):
        code, status, message = refusal(create, client, **{name: None})
        assert (code, status) == ("ValidationException", 400)
        assert f"Value null at '{name}'" in message


def test_the_limits_are_reached_but_not_passed(client: Any) -> None:
    document = f"{DOCUMENT}#"
    made(client, name="abc", data=document + "x" * (16000 - len(document)))
    made(client, name="a" * 128, semanticVersion="1073741823.1073741823.1073741823")
    made(client, name="tags", tags={f"k{n}": "v" for n in range(50)}, clientToken="t" * 64)


ARGUMENTS = {"name": "example", "semanticVersion": "1.0.0", "type": "BUILD"}


@pytest.mark.parametrize(("file", "type_"), [("build-image", "BUILD"), ("test-image", "TEST")])
def test_the_notebooks_documents_are_taken_and_refused_when_a_rule_is_broken(
    client: Any, file: str, type_: str
) -> None:
    text = (WORKFLOWS / f"{file}.yaml").read_text(encoding="utf-8")
    arn = made(client, name=file, type=type_, data=text)
    assert client.get_workflow(workflowBuildVersionArn=arn)["workflow"]["data"] == text
    for right, wrong, told in BROKEN:
        assert right in text
        broken = text.replace(right, wrong, 1)
        refused = refusal(create, client, name="other", type=type_, data=broken)
        assert refused[:2] == VALUE
        assert "'data'" in refused[2]
        assert told in refused[2]


BROKEN = [
    ("schemaVersion: 1.0", "schemaVersion: 2.0", "Supported versions include: 1.0"),
    ("action: LaunchInstance", "action: CopyImage", "CopyImage"),
    ("onFailure: Abort", "onFailure: Retry", "onFailure"),
]


# CreateWorkflow: builds, tokens, dry runs --------------------------------------------------------


def test_the_same_version_again_is_the_next_build(client: Any) -> None:
    builds = [made(client, description=text) for text in ("one", "two", "three")]
    assert [arn.rpartition("/")[2] for arn in builds] == ["1", "2", "3"]
    texts = [
        client.get_workflow(workflowBuildVersionArn=arn)["workflow"]["description"]
        for arn in builds
    ]
    assert texts == ["one", "two", "three"]


def test_the_same_configuration_again_exists_already(client: Any) -> None:
    """Compared with the latest build alone."""
    first = made(client)
    assert refusal(create, client) == (
        "ResourceAlreadyExistsException",
        400,
        f"The following resource 'Workflow' already exists: '{first}'.",
    )
    assert refusal(create, client, dryRun=True)[0] == "ResourceAlreadyExistsException"
    assert made(client, data=CHANGED).endswith("/1.0.0/2")
    assert made(client).endswith("/1.0.0/3")
    assert made(client, semanticVersion="1.0.1").endswith("/1.0.1/1")


def test_names_that_differ_in_case_spaces_and_underscores_are_one(client: Any) -> None:
    first = made(client, name="My Workflow")
    assert made(client, name="my_workflow") == first.replace("/1.0.0/1", "/1.0.0/2")


def test_a_client_token_gives_the_first_answer_again(sandbox: Served, client: Any) -> None:
    key = new_key(sandbox)
    first, again = (create(client, kmsKeyId=key, clientToken="token") for _ in range(2))
    for answer in (first, again):
        del answer["ResponseMetadata"]
    assert first == again
    assert len(sandbox.records("GenerateDataKey")) == 1
    assert len(client.list_workflow_build_versions()["workflowSummaryList"]) == 1


def test_a_client_token_with_other_parameters_is_refused(client: Any) -> None:
    create(client, clientToken="token")
    assert refusal(create, client, clientToken="token", data=CHANGED) == (
        "IdempotentParameterMismatchException",
        400,
        "You have specified a client token for an operation using parameter values that differ "
        "from a previous request that used the same client token.",
    )


def test_a_refused_call_uses_up_no_token(client: Any) -> None:
    refusal(create, client, clientToken="token", data="nonsense")
    refusal(create, client, clientToken="token", dryRun=True)
    assert made(client, clientToken="token").endswith("/1")


def test_a_dry_run_says_so_and_makes_nothing(sandbox: Served, client: Any) -> None:
    key = new_key(sandbox)
    assert refusal(create, client, kmsKeyId=key, dryRun=True) == (
        "DryRunOperationException",
        412,
        "Request would have succeeded, but dryRun flag is set.",
    )
    assert client.list_workflow_build_versions()["workflowSummaryList"] == []
    assert sandbox.records("GenerateDataKey") == []
    assert made(client, kmsKeyId=key).endswith("/1")


def test_a_dry_run_needs_the_same_permissions(sandbox: Served) -> None:
    nobody = sandbox.client("imagebuilder", sandbox.user("nobody"))
    assert refusal(create, nobody, dryRun=True)[:2] == ("AccessDeniedException", 403)


def test_a_dry_run_is_recorded_as_refused(sandbox: Served, client: Any) -> None:
    refusal(create, client, dryRun=True)
    (record,) = sandbox.records("CreateWorkflow")
    assert record["errorCode"] == "DryRunOperationException"
    assert record["responseElements"] is None


def test_a_region_holds_a_thousand_workflows(sandbox: Served, client: Any) -> None:
    """Source: https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html"""
    made(client)
    held = sandbox.world.state(ImageBuilderState, ACCOUNT, REGION).workflows
    (first,) = held.values()
    for number in range(1, 1000):
        arn = replace(first.arn, version=f"1.0.{number}")
        held[str(arn)] = replace(first, arn=arn, version=Version(arn.version))
    for dry in ({}, {"dryRun": True}):
        code, status, text = refusal(create, client, semanticVersion="2.0.0", **dry)
        assert (code, status) == ("ServiceQuotaExceededException", 402)
        assert "1,000" in text
    assert made(client, data=CHANGED).endswith("/1.0.0/2"), "another build is no other workflow"


# Tags and permissions ----------------------------------------------------------------------------


def test_tags_need_a_permission_of_their_own(sandbox: Served) -> None:
    creator = sandbox.client(
        "imagebuilder",
        sandbox.user(
            "creator",
            {"Effect": "Allow", "Action": "imagebuilder:CreateWorkflow", "Resource": f"{ROOT}/*"},
        ),
    )
    code, status, message = refusal(create, creator, tags={"team": "images"})
    assert (code, status) == ("AccessDeniedException", 403)
    assert f"imagebuilder:TagResource on resource: {ROOT}/build/example/1.0.0/*" in message
    made(creator)


def test_conditions_on_tags(sandbox: Served, client: Any) -> None:
    own = {"StringEquals": {"aws:RequestTag/team": "images"}}
    read = {"StringEquals": {"aws:ResourceTag/team": "images"}}
    member = sandbox.client(
        "imagebuilder",
        sandbox.user(
            "member",
            {
                "Effect": "Allow",
                "Action": ["imagebuilder:CreateWorkflow", "imagebuilder:TagResource"],
                "Resource": "*",
                "Condition": own,
            },
            {
                "Effect": "Allow",
                "Action": "imagebuilder:GetWorkflow",
                "Resource": "*",
                "Condition": read,
            },
        ),
    )
    other = made(client, name="other", tags={"team": "network"})
    assert refusal(create, member, tags={"team": "network"})[0] == "AccessDeniedException"
    assert refusal(create, member)[0] == "AccessDeniedException"
    mine = made(member, tags={"team": "images"})
    assert member.get_workflow(workflowBuildVersionArn=mine)["workflow"]["arn"] == mine
    assert refusal(member.get_workflow, workflowBuildVersionArn=other)[0] == "AccessDeniedException"


def test_a_permission_is_for_the_resources_that_it_names(sandbox: Served, client: Any) -> None:
    mine, other = made(client, name="mine-1"), made(client, name="other")
    scoped = sandbox.client(
        "imagebuilder",
        sandbox.user(
            "scoped",
            {
                "Effect": "Allow",
                "Action": ["imagebuilder:GetWorkflow", "imagebuilder:DeleteWorkflow"],
                "Resource": f"{ROOT}/build/mine-*",
            },
        ),
    )
    assert scoped.get_workflow(workflowBuildVersionArn=mine)["workflow"]["arn"] == mine
    for call in (scoped.get_workflow, scoped.delete_workflow):
        code, status, message = refusal(call, workflowBuildVersionArn=other)
        assert (code, status) == ("AccessDeniedException", 403)
        assert f"on resource: {other} because no identity-based policy allows" in message
    assert refusal(scoped.list_workflows)[0] == "AccessDeniedException"
    scoped.delete_workflow(workflowBuildVersionArn=mine)


# Versions ----------------------------------------------------------------------------------------


@pytest.fixture
def versions(client: Any) -> Any:
    """The page's example: 1.6.8, 2.2.4 and 1.7.8, the last one twice."""
    for version in ("1.6.8", "2.2.4", "1.7.8"):
        made(client, semanticVersion=version)
    made(client, semanticVersion="1.7.8", data=CHANGED)
    return client


def test_get_workflow_by_version(versions: Any) -> None:
    path = f"{ROOT}/build/example"
    found = {
        pattern: versions.get_workflow(workflowBuildVersionArn=f"{path}/{pattern}")["workflow"][
            "arn"
        ].removeprefix(f"{path}/")
        for pattern in ("x.x.x", "1.x.x", "1.6.x", "1.7.8", "1.7.8/1", "2.2.x")
    }
    assert found == {
        "x.x.x": "2.2.4/1",
        "1.x.x": "1.7.8/2",
        "1.6.x": "1.6.8/1",
        "1.7.8": "1.7.8/2",
        "1.7.8/1": "1.7.8/1",
        "2.2.x": "2.2.4/1",
    }
    assert all(
        versions.get_workflow(workflowBuildVersionArn=reference)["workflow"]["arn"]
        for reference in versions.get_workflow(workflowBuildVersionArn=f"{path}/1.6.8")[
            "latestVersionReferences"
        ].values()
    )


MISSING = ("ResourceNotFoundException", 404)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("build/example/x.2.x", VALUE),
        ("build/example/1.x.8", VALUE),
        ("build/example/1.7", VALUE),
        ("build/example/X.X.X", VALUE),
        ("deploy/example/1.7.8", VALUE),
        ("build/Example/1.7.8", VALUE),
        ("build/example/3.x.x", MISSING),
        ("build/example/1.7.8/3", MISSING),
        ("test/example/1.7.8", MISSING),
        ("build/another/1.7.8", MISSING),
        ("build/example/1073741824.0.0", ("InvalidVersionNumberException", 400)),
    ],
)
def test_versions_that_get_workflow_refuses(
    versions: Any, resource: str, expected: tuple[str, int]
) -> None:
    arn = f"{ROOT}/{resource}"
    assert refusal(versions.get_workflow, workflowBuildVersionArn=arn)[:2] == expected


def test_list_workflow_build_versions(versions: Any) -> None:
    path = f"{ROOT}/build/example"

    def builds(**asked: Any) -> list[str]:
        answer = versions.list_workflow_build_versions(**asked)
        return [each["arn"].removeprefix(f"{path}/") for each in answer["workflowSummaryList"]]

    everything = ["2.2.4/1", "1.7.8/2", "1.7.8/1", "1.6.8/1"]
    assert builds() == everything
    assert builds(workflowVersionArn=f"{path}/x.x.x") == everything
    assert builds(workflowVersionArn=f"{path}/1.x.x") == everything[1:]
    assert builds(workflowVersionArn=f"{path}/1.7.8") == everything[1:3]
    assert builds(workflowVersionArn=f"{path}/9.x.x") == []
    for wrong in (f"{path}/1.x.8", f"{path}/1.7.8/1"):
        code, _, _ = refusal(versions.list_workflow_build_versions, workflowVersionArn=wrong)
        assert code == "InvalidParameterValueException"
    summary = versions.list_workflow_build_versions(maxResults=1)["workflowSummaryList"][0]
    assert set(summary) == {"arn", "name", "version", "type", "owner", "dateCreated"}


def test_list_workflows_shows_each_version_once(versions: Any) -> None:
    made(versions, type="TEST", data=TEST_DOCUMENT, description="tests it")
    listed = versions.list_workflows()["workflowVersionList"]
    assert [each["arn"].removeprefix(f"{ROOT}/") for each in listed] == [
        "build/example/2.2.4",
        "build/example/1.7.8",
        "build/example/1.6.8",
        "test/example/1.0.0",
    ]
    last = listed[-1]
    assert last.pop("dateCreated").startswith("2026-01-31T09:00:")
    assert last == {
        "arn": f"{ROOT}/test/example/1.0.0",
        "name": "example",
        "version": "1.0.0",
        "description": "tests it",
        "type": "TEST",
        "owner": ACCOUNT,
    }


def test_list_workflows_filters(client: Any) -> None:
    made(client)
    made(client, name="example two", semanticVersion="2.0.0", description="second")
    made(client, name="other", type="TEST", data=TEST_DOCUMENT)

    def found(**filters: list[str]) -> list[str]:
        given = [{"name": name, "values": values} for name, values in filters.items()]
        answer = client.list_workflows(filters=given)
        return [each["name"] for each in answer["workflowVersionList"]]

    assert found(name=["example"]) == ["example"]
    assert found(name=["example*"]) == ["example", "example two"]
    assert found(name=["*two*"]) == ["example two"]
    assert found(name=["EXAMPLE"]) == []
    assert found(name=["example", "other"]) == ["example", "other"]
    assert found(version=["2.0.0"]) == ["example two"]
    assert found(type=["TEST"]) == ["other"]
    assert found(description=["second"]) == ["example two"]
    assert found(name=["example*"], version=["1.0.0"]) == ["example"]
    code, _, message = refusal(
        client.list_workflows, filters=[{"name": "colour", "values": ["red"]}]
    )
    assert code == "InvalidParameterValueException"
    assert "colour" in message


def test_list_workflows_owners(client: Any) -> None:
    made(client)
    assert len(client.list_workflows(owner="Self")["workflowVersionList"]) == 1
    assert client.list_workflows(owner="AWSMarketplace")["workflowVersionList"] == []
    assert refusal(client.list_workflows, owner="Amazon")[:2] == ("NotImplemented", 501)
    assert refusal(client.list_workflows, owner="Nobody")[:2] == VALUE


def test_lists_come_in_pages(client: Any) -> None:
    names = [f"workflow-{number}" for number in range(5)]
    for name in names:
        made(client, name=name)
    for operation, key in (
        ("list_workflows", "workflowVersionList"),
        ("list_workflow_build_versions", "workflowSummaryList"),
    ):
        pages = [
            [each["name"] for each in page[key]]
            for page in client.get_paginator(operation).paginate(PaginationConfig={"PageSize": 2})
        ]
        assert pages == [names[:2], names[2:4], names[4:]]


@pytest.mark.parametrize("token", ["nonsense", "bm9uc2Vuc2U=", "é", "AAAA"])
def test_a_token_that_no_list_gave_out(client: Any, token: str) -> None:
    assert refusal(client.list_workflows, nextToken=token)[:2] == (
        "InvalidPaginationTokenException",
        400,
    )


def test_a_token_is_good_for_the_list_that_gave_it_out(client: Any) -> None:
    for number in range(3):
        made(client, name=f"workflow-{number}")
    token = client.list_workflows(maxResults=1)["nextToken"]
    assert len(client.list_workflows(maxResults=2, nextToken=token)["workflowVersionList"]) == 2
    filters = [{"name": "type", "values": ["BUILD"]}]
    for call, more in (
        (client.list_workflows, {"filters": filters}),
        (client.list_workflow_build_versions, {}),
    ):
        code, _, _ = refusal(call, nextToken=token, **more)
        assert code == "InvalidPaginationTokenException"


def test_a_page_has_1_to_100_entries(sandbox: Served) -> None:
    """As the model says; the API reference says 25."""
    client = sandbox.client("imagebuilder", parameter_validation=False)
    for size in (0, 101):
        assert refusal(client.list_workflows, maxResults=size)[:2] == VALUE
    assert client.list_workflows(maxResults=100)["workflowVersionList"] == []


# Keys --------------------------------------------------------------------------------------------


def test_a_key_is_named_by_key_arn_or_alias_arn(sandbox: Served, client: Any) -> None:
    """``kmsKeyId`` and the data key's record show what was given; Decrypt's shows the key."""
    key = new_key(sandbox)
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/mine"
    sandbox.client("kms").create_alias(AliasName="alias/mine", TargetKeyId=key)
    for name, given in (("by-key", key), ("by-alias", alias)):
        arn = made(client, name=name, kmsKeyId=given)
        read = client.get_workflow(workflowBuildVersionArn=arn)["workflow"]
        assert (read["kmsKeyId"], read["data"]) == (given, DOCUMENT)
        (generated, decrypted) = (
            sandbox.records(event)[-1] for event in ("GenerateDataKey", "Decrypt")
        )
        assert generated["requestParameters"]["keyId"] == given
        assert decrypted["requestParameters"]["keyId"] == key
        for record in (generated, decrypted):
            assert [each["ARN"] for each in record["resources"]] == [key]
            context = record["requestParameters"]["encryptionContext"]
            assert context["aws:imagebuilder:arn"] == f"{ROOT}/build/{name}/1.0.0/*"


def test_only_create_and_get_call_kms_and_once_each(sandbox: Served, client: Any) -> None:
    arn = made(client, kmsKeyId=new_key(sandbox))
    before = len(sandbox.records())
    client.list_workflows()
    client.list_workflow_build_versions()
    client.get_workflow(workflowBuildVersionArn=f"{ROOT}/build/example/x.x.x")
    client.delete_workflow(workflowBuildVersionArn=arn)
    assert [record["eventName"] for record in sandbox.records()[before:]] == [
        "ListWorkflows",
        "ListWorkflowBuildVersions",
        "Decrypt",
        "GetWorkflow",
        "DeleteWorkflow",
    ]
    assert len(sandbox.records("GenerateDataKey")) == 1


def test_each_build_of_a_version_has_a_ciphertext_of_its_own(sandbox: Served, client: Any) -> None:
    """One context ARN for both, told apart by the public key alone."""
    key = new_key(sandbox)
    for data in (DOCUMENT, CHANGED):
        arn = made(client, kmsKeyId=key, data=data)
        assert client.get_workflow(workflowBuildVersionArn=arn)["workflow"]["data"] == data
    one, two = (
        record["requestParameters"]["encryptionContext"]
        for record in sandbox.records("GenerateDataKey")
    )
    assert one["aws:imagebuilder:arn"] == two["aws:imagebuilder:arn"]
    assert one["aws-crypto-public-key"] != two["aws-crypto-public-key"]
    read = [r["requestParameters"]["encryptionContext"] for r in sandbox.records("Decrypt")]
    assert read == [one, two]


def test_the_text_of_an_encrypted_workflow_is_kept_nowhere(sandbox: Served, client: Any) -> None:
    from awssandbox.imagebuilder import ImageBuilderState

    made(client, kmsKeyId=new_key(sandbox), clientToken="token")
    (state,) = sandbox.world.states(ImageBuilderState).values()
    assert "LaunchBuildInstance" not in repr(state)
    assert "LaunchBuildInstance" not in json.dumps(sandbox.records())


UNUSABLE: list[tuple[str, Callable[[Any, str], Any], str]] = [
    ("disabled", lambda kms, key: kms.disable_key(KeyId=key), "DisabledException"),
    (
        "pending deletion",
        lambda kms, key: kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7),
        "KMSInvalidStateException",
    ),
]


@pytest.mark.parametrize(("what", "end", "code"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_a_key_out_of_use_closes_its_workflows_which_can_still_be_deleted(
    sandbox: Served, client: Any, what: str, end: Callable[[Any, str], Any], code: str
) -> None:
    key = new_key(sandbox)
    arn = made(client, kmsKeyId=key)
    end(sandbox.client("kms"), key)
    refused, status, message = refusal(client.get_workflow, workflowBuildVersionArn=arn)
    assert (refused, status) == ("ClientException", 400)
    assert f"KMS answered {code}: {key} is {what}" in message
    assert sandbox.records("Decrypt")[-1]["errorCode"] == code
    refused, _, message = refusal(create, client, kmsKeyId=key, data=CHANGED)
    assert (refused, code in message) == ("ClientException", True)
    assert len(client.list_workflow_build_versions()["workflowSummaryList"]) == 1
    client.delete_workflow(workflowBuildVersionArn=arn)
    assert client.list_workflows()["workflowVersionList"] == []


def test_a_deleted_key_closes_its_workflows_for_good(sandbox: Served, client: Any) -> None:
    from datetime import timedelta

    key = new_key(sandbox)
    arn = made(client, kmsKeyId=key)
    sandbox.client("kms").schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    sandbox.world.clock.advance(timedelta(days=8))
    code, _, message = refusal(client.get_workflow, workflowBuildVersionArn=arn)
    assert code == "ClientException"
    assert "NotFoundException" in message
    client.delete_workflow(workflowBuildVersionArn=arn)


def test_a_key_that_does_not_exist(sandbox: Served, client: Any) -> None:
    for name in ("key/11111111-1111-1111-1111-111111111111", "alias/none"):
        arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}"
        code, _, message = refusal(create, client, kmsKeyId=arn)
        assert code == "ClientException"
        assert "KMS answered NotFoundException" in message
    assert client.list_workflows()["workflowVersionList"] == []


# As whom -----------------------------------------------------------------------------------------


def operator(sandbox: Served, *kms: str, name: str = "operator", **more: Any) -> Credentials:
    """A user who may do everything in Image Builder, and these actions of KMS."""
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": "imagebuilder:*", "Resource": "*"}
    ]
    if kms:
        statements.append({"Effect": "Allow", "Action": list(kms), "Resource": "*", **more})
    return sandbox.user(name, *statements)


def test_the_execution_role_s_grant_does_not_let_the_operator_create(sandbox: Served) -> None:
    """KMS is called as the caller: the page's key policy statement for the role is no help."""
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "imagebuilder.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    role = sandbox.role("Execution", trust)
    root = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    use = {**root, "Principal": {"AWS": role}, "Action": ["kms:Decrypt", "kms:GenerateDataKey"]}
    policy = document(root, use)
    key = new_key(sandbox, Policy=policy)
    client = sandbox.client("imagebuilder", operator(sandbox))
    code, status, message = refusal(create, client, kmsKeyId=key)
    assert (code, status) == ("ForbiddenException", 403)
    assert f"User: arn:aws:iam::{ACCOUNT}:user/operator is not authorized to perform" in message
    assert f"kms:GenerateDataKey on resource: {key}" in message
    assert client.list_workflows()["workflowVersionList"] == []
    (record,) = sandbox.records("GenerateDataKey")
    assert record["errorCode"] == "AccessDenied"
    assert record["userIdentity"]["userName"] == "operator"
    assert record["userIdentity"]["invokedBy"] == "imagebuilder.amazonaws.com"
    assert record["sourceIPAddress"] == record["userAgent"] == "imagebuilder.amazonaws.com"


def test_who_may_create_may_not_read_without_decrypt(sandbox: Served) -> None:
    client = sandbox.client("imagebuilder", operator(sandbox, "kms:GenerateDataKey"))
    arn = made(client, kmsKeyId=new_key(sandbox))
    code, status, message = refusal(client.get_workflow, workflowBuildVersionArn=arn)
    assert (code, status) == ("ForbiddenException", 403)
    assert "because no identity-based policy allows the kms:Decrypt action" in message
    assert client.list_workflow_build_versions()["workflowSummaryList"][0]["arn"] == arn
    client.delete_workflow(workflowBuildVersionArn=arn)


def test_a_refusal_of_kms_leaves_the_token_free(sandbox: Served) -> None:
    client = sandbox.client("imagebuilder", operator(sandbox))
    key = new_key(sandbox)
    refusal(create, client, kmsKeyId=key, clientToken="token")
    grant = {"Effect": "Allow", "Action": "kms:GenerateDataKey", "Resource": key}
    policy = document(grant)
    sandbox.client("iam").put_user_policy(
        UserName="operator", PolicyName="key", PolicyDocument=policy
    )
    assert made(client, kmsKeyId=key, clientToken="token").endswith("/1.0.0/1")


CONDITIONS: list[tuple[str, dict[str, Any], bool]] = [
    (
        "CalledVia",
        {"ForAnyValue:StringEquals": {"aws:CalledVia": "imagebuilder.amazonaws.com"}},
        True,
    ),
    (
        "CalledVia another",
        {"ForAnyValue:StringEquals": {"aws:CalledVia": "ssm.amazonaws.com"}},
        False,
    ),
    (
        "CalledViaFirst",
        {"StringEquals": {"aws:CalledViaFirst": "imagebuilder.amazonaws.com"}},
        True,
    ),
    ("CalledViaLast", {"StringEquals": {"aws:CalledViaLast": "imagebuilder.amazonaws.com"}}, True),
    ("ViaAWSService", {"Bool": {"aws:ViaAWSService": "true"}}, True),
    ("not ViaAWSService", {"Bool": {"aws:ViaAWSService": "false"}}, False),
    # Image Builder is not among the services that kms:ViaService knows.
    (
        "ViaService",
        {"StringEquals": {"kms:ViaService": f"imagebuilder.{REGION}.amazonaws.com"}},
        False,
    ),
    ("ViaService of any Region", {"StringLike": {"kms:ViaService": "imagebuilder.*"}}, False),
    (
        "this workflow",
        {"StringLike": {"kms:EncryptionContext:aws:imagebuilder:arn": f"{ROOT}/build/example/*"}},
        True,
    ),
    # The context ends in a literal star, never in a build number.
    (
        "this workflow's first build",
        {
            "StringEquals": {
                "kms:EncryptionContext:aws:imagebuilder:arn": f"{ROOT}/build/example/1.0.0/1"
            }
        },
        False,
    ),
    (
        "the literal star",
        {
            "StringEquals": {
                "kms:EncryptionContext:aws:imagebuilder:arn": f"{ROOT}/build/example/1.0.0/*"
            }
        },
        True,
    ),
    (
        "both context keys",
        {
            "ForAllValues:StringEquals": {
                "kms:EncryptionContextKeys": ["aws:imagebuilder:arn", "aws-crypto-public-key"]
            }
        },
        True,
    ),
    (
        "one context key of the two",
        {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["aws:imagebuilder:arn"]}},
        False,
    ),
]


def test_conditions_on_the_forwarded_call(sandbox: Served) -> None:
    """Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_forward_access_sessions.html,
    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
    """
    key = new_key(sandbox)
    user = operator(sandbox)
    client = sandbox.client("imagebuilder", user)
    iam = sandbox.client("iam")
    outcomes = {}
    for number, (what, condition, _) in enumerate(CONDITIONS):
        statement = {
            "Effect": "Allow",
            "Action": "kms:GenerateDataKey",
            "Resource": key,
            "Condition": condition,
        }
        policy = document(statement)
        iam.put_user_policy(UserName="operator", PolicyName="key", PolicyDocument=policy)
        outcomes[what] = allowed(client, kmsKeyId=key, description=f"{number}")
    assert outcomes == {what: expected for what, _, expected in CONDITIONS}


def test_called_via_lets_image_builder_use_the_key_and_not_its_caller(sandbox: Served) -> None:
    via = {"ForAnyValue:StringEquals": {"aws:CalledVia": "imagebuilder.amazonaws.com"}}
    user = operator(sandbox, "kms:GenerateDataKey", "kms:Decrypt", Condition=via)
    key = new_key(sandbox)
    client = sandbox.client("imagebuilder", user)
    arn = made(client, kmsKeyId=key)
    assert client.get_workflow(workflowBuildVersionArn=arn)["workflow"]["data"] == DOCUMENT
    code, _, _ = refusal(sandbox.client("kms", user).generate_data_key, KeyId=key, NumberOfBytes=32)
    assert code == "AccessDeniedException"


# Across accounts and Regions ---------------------------------------------------------------------


OTHER = "999988887777"


def elsewhere(sandbox: Served, service: str) -> Any:
    keys = sandbox.world.iam.administrator(OTHER)
    return sandbox.client(service, (keys.access_key_id, keys.secret_access_key, None))


@pytest.mark.parametrize("granted", [True, False])
def test_a_key_of_another_account(sandbox: Served, client: Any, granted: bool) -> None:
    """Both sides must allow it; the caller's own account's policies alone do not suffice."""
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
        for account in ([OTHER, ACCOUNT] if granted else [OTHER])
    ]
    policy = document(*statements)
    key = elsewhere(sandbox, "kms").create_key(Policy=policy)["KeyMetadata"]["Arn"]
    assert key.split(":")[4] == OTHER
    if not granted:
        code, _, message = refusal(create, client, kmsKeyId=key)
        assert (code, "kms:GenerateDataKey" in message) == ("ForbiddenException", True)
        assert sandbox.world.trail.entries(OTHER, REGION)[-1].record["eventName"] == "CreateKey"
        return
    arn = made(client, kmsKeyId=key)
    assert client.get_workflow(workflowBuildVersionArn=arn)["workflow"]["data"] == DOCUMENT
    for name in ("GenerateDataKey", "Decrypt"):
        (mine,) = sandbox.records(name)
        (theirs,) = (
            entry.record
            for entry in sandbox.world.trail.entries(OTHER, REGION)
            if entry.record["eventName"] == name
        )
        assert mine["sharedEventID"] == theirs["sharedEventID"]
        assert mine["resources"][0]["accountId"] == OTHER


def test_a_workflow_of_another_account_or_region_is_not_there(sandbox: Served, client: Any) -> None:
    arn = made(client)
    theirs = elsewhere(sandbox, "imagebuilder")
    assert theirs.list_workflows()["workflowVersionList"] == []
    assert refusal(theirs.get_workflow, workflowBuildVersionArn=arn)[0] == "AccessDeniedException"
    far = sandbox.client("imagebuilder", region="eu-west-1")
    assert far.list_workflows()["workflowVersionList"] == []
    assert refusal(far.get_workflow, workflowBuildVersionArn=arn)[:2] == MISSING
    assert made(far).startswith(f"arn:aws:imagebuilder:eu-west-1:{ACCOUNT}:")


# DeleteWorkflow ----------------------------------------------------------------------------------


def test_delete_workflow_takes_a_build_version_s_exact_arn(versions: Any) -> None:
    path = f"{ROOT}/build/example"
    for wrong in ("1.7.8", "1.7.x", "x.x.x"):
        assert (
            refusal(versions.delete_workflow, workflowBuildVersionArn=f"{path}/{wrong}")[:2]
            == VALUE
        )
    answer = versions.delete_workflow(workflowBuildVersionArn=f"{path}/1.7.8/2")
    assert answer["workflowBuildVersionArn"] == f"{path}/1.7.8/2"
    found = versions.get_workflow(workflowBuildVersionArn=f"{path}/1.7.8")["workflow"]
    assert found["arn"] == f"{path}/1.7.8/1"
    again = refusal(versions.delete_workflow, workflowBuildVersionArn=f"{path}/1.7.8/2")
    assert again[:2] == MISSING


def test_what_is_not_served_names_itself(client: Any) -> None:
    code, status, message = refusal(client.list_lifecycle_policies)
    assert (code, status) == ("NotImplemented", 501)
    assert "imagebuilder:ListLifecyclePolicies" in message
