"""CreateImage as far as a build's access to its workflows goes: by real calls.

The build reads its workflows as the execution role, so this is the only call that shows what the
role may do. Sources: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/list_imagebuilder.html,
https://docs.aws.amazon.com/imagebuilder/latest/userguide/image-failure-context.html
"""

from __future__ import annotations

from typing import Any

import pytest
from served import ACCOUNT, DOCUMENT, REGION, Served, document, refusal

ARN = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}"
RECIPE = f"{ARN}:image-recipe/web/1.2.3"
INFRASTRUCTURE = f"{ARN}:infrastructure-configuration/small"
DISTRIBUTION = f"{ARN}:distribution-configuration/everywhere"
MANAGED = f"arn:aws:imagebuilder:{REGION}:aws:workflow"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Execution"
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "imagebuilder.amazonaws.com"},
    "Action": "sts:AssumeRole",
    "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
}
PATTERN = f"arn:aws:imagebuilder:*:{ACCOUNT}:workflow/*"
READ = {
    "Effect": "Allow",
    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
    "Resource": "*",
    "Condition": {"StringLike": {"kms:EncryptionContext:aws:imagebuilder:arn": PATTERN}},
}


class Builds:
    """An execution role that may read workflows, an encrypted workflow, and a client to build."""

    def __init__(self, sandbox: Served) -> None:
        self.sandbox = sandbox
        self.kms = sandbox.client("kms")
        self.iam = sandbox.client("iam")
        self.client = sandbox.client("imagebuilder")
        self.role = sandbox.role("Execution", TRUST, READ)
        self.key: str = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.workflow = self.new("secret", kmsKeyId=self.key)

    def new(self, name: str, type_: str = "BUILD", **more: Any) -> str:
        answer = self.client.create_workflow(
            name=name, semanticVersion="1.0.0", type=type_, data=DOCUMENT, **more
        )
        arn: str = answer["workflowBuildVersionArn"]
        return arn

    def create(self, *workflows: str, client: Any = None, **changes: Any) -> Any:
        """CreateImage; None leaves a parameter out."""
        given: dict[str, Any] = {
            "imageRecipeArn": RECIPE,
            "infrastructureConfigurationArn": INFRASTRUCTURE,
            "workflows": [{"workflowArn": arn} for arn in workflows or (self.workflow,)],
            "executionRole": self.role,
        } | changes
        return (client or self.client).create_image(
            **{name: value for name, value in given.items() if value is not None}
        )

    def state(self, *workflows: str, **changes: Any) -> Any:
        """The state in which a build ends."""
        arn = self.create(*workflows, **changes)["imageBuildVersionArn"]
        return self.client.get_image(imageBuildVersionArn=arn)["image"]["state"]


@pytest.fixture
def builds(sandbox: Served) -> Builds:
    return Builds(sandbox)


def simulated(read: int, of: int) -> dict[str, str]:
    return {
        "status": "CANCELLED",
        "reason": (
            f"Simulated build: the execution role could read {read} of {of} workflows. "
            "The sandbox ran no step, launched no instance and made no image."
        ),
    }


# A build that may read ---------------------------------------------------------------------------


def test_a_build_reads_its_workflow_as_the_execution_role(builds: Builds) -> None:
    before = len(builds.sandbox.records())
    assert builds.state() == simulated(1, 1)
    records = builds.sandbox.records()[before:]
    assert [r["eventName"] for r in records] == ["AssumeRole", "Decrypt", "CreateImage", "GetImage"]
    assumed, decrypted = records[:2]
    assert assumed["userIdentity"] == {
        "type": "AWSService",
        "invokedBy": "imagebuilder.amazonaws.com",
    }
    identity = decrypted["userIdentity"]
    assert identity["type"] == "AssumedRole"
    assert identity["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/Execution/ImageBuilder"
    assert identity["sessionContext"]["sessionIssuer"]["arn"] == ROLE
    assert identity["invokedBy"] == "imagebuilder.amazonaws.com"
    assert decrypted["sourceIPAddress"] == decrypted["userAgent"] == "imagebuilder.amazonaws.com"
    assert decrypted["requestParameters"]["encryptionContext"]["aws:imagebuilder:arn"] == (
        f"{ARN}:workflow/build/secret/1.0.0/*"
    )
    assert decrypted["resources"][0]["ARN"] == builds.key


def test_the_caller_needs_no_access_to_the_key(builds: Builds) -> None:
    without_kms = builds.sandbox.user(
        "builder",
        {"Effect": "Allow", "Action": "imagebuilder:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE},
    )
    client = builds.sandbox.client("imagebuilder", without_kms)
    assert refusal(client.get_workflow, workflowBuildVersionArn=builds.workflow)[:2] == (
        "ForbiddenException",
        403,
    )
    assert builds.state(client=client) == simulated(1, 1)


def test_what_create_and_get_answer(builds: Builds) -> None:
    answer = builds.create(
        clientToken="token",
        tags={"team": "images"},
        distributionConfigurationArn=DISTRIBUTION,
        imageTestsConfiguration={"imageTestsEnabled": False, "timeoutMinutes": 60},
    )
    references = {
        "latestVersionArn": f"{ARN}:image/web/x.x.x",
        "latestMajorVersionArn": f"{ARN}:image/web/1.x.x",
        "latestMinorVersionArn": f"{ARN}:image/web/1.2.x",
        "latestPatchVersionArn": f"{ARN}:image/web/1.2.3",
    }
    assert answer.pop("requestId") == answer.pop("ResponseMetadata")["RequestId"]
    assert answer == {
        "clientToken": "token",
        "imageBuildVersionArn": f"{ARN}:image/web/1.2.3/1",
        "latestVersionReferences": references,
    }
    read = builds.client.get_image(imageBuildVersionArn=f"{ARN}:image/web/1.2.3/1")
    assert read["latestVersionReferences"] == references
    assert read["image"].pop("dateCreated").startswith("2026-01-31T09:00:")
    assert read["image"] == {
        "arn": f"{ARN}:image/web/1.2.3/1",
        "type": "AMI",
        "name": "web",
        "version": "1.2.3/1",
        "state": simulated(1, 1),
        "enhancedImageMetadataEnabled": True,
        "executionRole": ROLE,
        "imageRecipe": {"arn": RECIPE},
        "infrastructureConfiguration": {"arn": INFRASTRUCTURE},
        "imageTestsConfiguration": {"imageTestsEnabled": False, "timeoutMinutes": 60},
        "workflows": [{"workflowArn": builds.workflow}],
        "outputResources": {"amis": [], "containers": []},
        "tags": {"team": "images"},
    }


def test_the_role_may_be_given_by_its_name(builds: Builds) -> None:
    assert builds.state(executionRole="Execution") == simulated(1, 1)


def test_a_workflow_without_a_key_leaves_no_record_of_kms(builds: Builds) -> None:
    plain = builds.new("plain")
    before = len(builds.sandbox.records())
    assert builds.state(plain) == simulated(1, 1)
    names = [record["eventName"] for record in builds.sandbox.records()[before:]]
    assert names == ["AssumeRole", "CreateImage", "GetImage"]


def test_a_version_arn_builds_with_the_latest_build(builds: Builds) -> None:
    path = f"{ARN}:workflow/build/secret"
    assert builds.state(f"{path}/x.x.x") == simulated(1, 1)
    builds.new("secret", description="the next build, which is open to everybody")
    before = len(builds.sandbox.records("Decrypt"))
    assert builds.state(f"{path}/1.x.x") == simulated(1, 1)
    assert len(builds.sandbox.records("Decrypt")) == before


def test_managed_workflows_hold_nothing_of_ours(builds: Builds) -> None:
    managed = (f"{MANAGED}/build/build-image/x.x.x", f"{MANAGED}/test/test-image/x.x.x")
    assert builds.state(*managed, builds.workflow) == simulated(1, 1)
    code, status, message = refusal(builds.create, f"{MANAGED}/build/build-image/1.0.0")
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert "AWS managed workflows must have latest version 'x.x.x'" in message
    code, status, _ = refusal(builds.create, f"{MANAGED}/build/another/x.x.x")
    assert (code, status) == ("NotImplemented", 501)


def test_a_client_token_builds_once(builds: Builds) -> None:
    first, again = (builds.create(clientToken="token")["imageBuildVersionArn"] for _ in range(2))
    assert first == again
    assert len(builds.sandbox.records("Decrypt")) == 1
    assert builds.create()["imageBuildVersionArn"] == first.replace("/1.2.3/1", "/1.2.3/2")
    code, _, _ = refusal(builds.create, clientToken="token", tags={"other": "request"})
    assert code == "IdempotentParameterMismatchException"


# A build that may not ----------------------------------------------------------------------------


def failed(builds: Builds, told: str, **changes: Any) -> None:
    """A build ends FAILED, for the reason `told`, before it runs anything."""
    state = builds.state(**changes)
    assert state["status"] == "FAILED"
    assert told in state["reason"]


def test_a_build_fails_when_the_role_may_not_decrypt(builds: Builds) -> None:
    """Although its caller, an administrator, may."""
    builds.iam.delete_role_policy(RoleName="Execution", PolicyName="inline")
    failed(
        builds,
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/Execution/ImageBuilder is not authorized to "
        f"perform: kms:Decrypt on resource: {builds.key} because no identity-based policy allows "
        "the kms:Decrypt action",
    )
    record = builds.sandbox.records("Decrypt")[-1]
    assert record["errorCode"] == "AccessDenied"
    assert record["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == ROLE
    got = builds.client.get_workflow(workflowBuildVersionArn=builds.workflow)["workflow"]
    assert got["data"] == DOCUMENT


def test_what_a_failed_build_says(builds: Builds) -> None:
    builds.kms.disable_key(KeyId=builds.key)
    state = builds.state()
    execution = state["failureContext"]["workflowExecutionId"]
    assert execution.startswith("wf-")
    assert state["failureContext"] == {
        "imageStatus": "BUILDING",
        "workflowExecutionId": execution,
        "workflowArn": builds.workflow,
    }
    assert state["reason"].startswith(f"Workflow Execution ID: '{execution}' failed with reason: ")
    assert f"KMS answered DisabledException: {builds.key} is disabled." in state["reason"]


@pytest.mark.parametrize(
    ("what", "trust"),
    [
        ("another service", {**TRUST, "Principal": {"Service": "ec2.amazonaws.com"}}),
        ("nobody but the account", {**TRUST, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}),
        (
            "builds of another account",
            {**TRUST, "Condition": {"StringEquals": {"aws:SourceAccount": "999988887777"}}},
        ),
    ],
)
def test_a_build_fails_when_the_role_trusts(builds: Builds, what: str, trust: Any) -> None:
    builds.iam.update_assume_role_policy(RoleName="Execution", PolicyDocument=document(trust))
    failed(builds, "could not assume the execution role")
    assert builds.sandbox.records("Decrypt") == []
    assert builds.sandbox.records("AssumeRole")[-1]["errorCode"] == "AccessDenied"


def test_a_build_fails_when_there_is_no_such_role(builds: Builds) -> None:
    failed(builds, "could not assume the execution role", executionRole="Nobody")


def test_the_condition_on_the_context_binds_the_role(builds: Builds) -> None:
    """The role may read workflows named ``secret``; this one has another name."""
    only = {"kms:EncryptionContext:aws:imagebuilder:arn": f"{ARN}:workflow/build/secret/*"}
    scoped = {**READ, "Condition": {"StringLike": only}}
    builds.iam.put_role_policy(
        RoleName="Execution", PolicyName="inline", PolicyDocument=document(scoped)
    )
    other = builds.new("other", kmsKeyId=builds.key)
    assert builds.state() == simulated(1, 1)
    assert builds.state(other)["status"] == "FAILED"


def test_the_first_workflow_that_fails_ends_the_build(builds: Builds) -> None:
    """In the order in which they run: build before test, however the request orders them."""
    builds.iam.delete_role_policy(RoleName="Execution", PolicyName="inline")
    test = builds.new("tests-it", "TEST", kmsKeyId=builds.key)
    state = builds.state(test, builds.workflow)
    assert state["failureContext"]["workflowArn"] == builds.workflow
    assert len(builds.sandbox.records("Decrypt")) == 1
    state = builds.state(builds.new("plain"), test)
    assert state["failureContext"]["imageStatus"] == "TESTING"


def test_a_test_workflow_may_fail_and_the_build_go_on(builds: Builds) -> None:
    builds.iam.delete_role_policy(RoleName="Execution", PolicyName="inline")
    test = builds.new("tests-it", "TEST", kmsKeyId=builds.key)
    entries = [
        {"workflowArn": builds.new("plain")},
        {"workflowArn": test, "onFailure": "CONTINUE"},
    ]
    assert builds.state(workflows=entries) == simulated(1, 2)
    assert builds.state(workflows=[{**entries[1], "onFailure": "ABORT"}])["status"] == "FAILED"


# Refused at once ---------------------------------------------------------------------------------


def test_requests_that_are_refused(builds: Builds) -> None:
    before = len(builds.sandbox.records("AssumeRole"))
    value, missing = ("InvalidParameterValueException", 400), ("ResourceNotFoundException", 404)
    combination = ("InvalidParameterCombinationException", 400)
    path = f"{ARN}:workflow/build/secret"
    entry = {"workflowArn": builds.workflow}
    cases: list[tuple[str, dict[str, Any], tuple[str, int], str]] = [
        (
            "no execution role",
            {"executionRole": None},
            combination,
            "An execution role is required to provide workflows",
        ),
        ("no recipe", {"imageRecipeArn": None}, combination, "imageRecipeArn"),
        (
            "two recipes",
            {"containerRecipeArn": RECIPE.replace("image-", "container-")},
            combination,
            "containerRecipeArn",
        ),
        ("eleven workflows", {"workflows": [entry] * 11}, value, "up to 10 workflows"),
        ("no such workflow", {"workflows": [{"workflowArn": f"{path}/9.9.9"}]}, missing, "9.9.9"),
        ("a wrong wildcard", {"workflows": [{"workflowArn": f"{path}/1.x.0"}]}, value, "wildcard"),
        ("no workflow's ARN", {"workflows": [{"workflowArn": RECIPE}]}, value, "workflowArn"),
        (
            "onFailure of a build workflow",
            {"workflows": [{**entry, "onFailure": "CONTINUE"}]},
            value,
            "'onFailure' can only be set for test workflows",
        ),
        ("a role that is no role", {"executionRole": "a b"}, value, "executionRole"),
        ("no workflows", {"workflows": None}, ("NotImplemented", 501), "without workflows"),
        (
            "a recipe's wildcard",
            {"imageRecipeArn": RECIPE.replace("1.2.3", "x.x.x")},
            ("NotImplemented", 501),
            "recipes",
        ),
    ]
    for what, changes, expected, told in cases:
        code, status, message = refusal(builds.create, **changes)
        assert (code, status) == expected, f"{what}: {message}"
        assert told in message, f"{what}: {message}"
    assert len(builds.sandbox.records("AssumeRole")) == before
    everything = [entry] * 10
    assert builds.state(workflows=everything) == simulated(10, 10)


ALL = {
    "imagebuilder:CreateImage": f"{ARN}:image/web/1.2.3/*",
    "imagebuilder:GetImageRecipe": RECIPE,
    "imagebuilder:GetInfrastructureConfiguration": INFRASTRUCTURE,
    "imagebuilder:GetDistributionConfiguration": DISTRIBUTION,
    "imagebuilder:GetWorkflow": f"{ARN}:workflow/build/secret/1.0.0/1",
    "imagebuilder:TagResource": f"{ARN}:image/web/1.2.3/*",
    "iam:PassRole": ROLE,
}


def test_each_permission_that_the_caller_needs(builds: Builds) -> None:
    client = builds.sandbox.client("imagebuilder", builds.sandbox.user("builder"))
    more = {"distributionConfigurationArn": DISTRIBUTION, "tags": {"team": "images"}}
    for missing in (*ALL, None):
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": resource}
            for action, resource in ALL.items()
            if action != missing
        ]
        builds.iam.put_user_policy(
            UserName="builder", PolicyName="inline", PolicyDocument=document(*statements)
        )
        if missing is None:
            assert builds.create(client=client, **more)["imageBuildVersionArn"]
            continue
        code, status, message = refusal(builds.create, client=client, **more)
        assert (code, status) == ("AccessDeniedException", 403)
        assert f"not authorized to perform: {missing} on resource: {ALL[missing]} " in message


@pytest.mark.parametrize(
    ("service", "may"), [("imagebuilder.amazonaws.com", True), ("ec2.amazonaws.com", False)]
)
def test_pass_role_may_be_bound_to_image_builder(builds: Builds, service: str, may: bool) -> None:
    builder = builds.sandbox.user(
        "builder",
        {"Effect": "Allow", "Action": "imagebuilder:*", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "*",
            "Condition": {"StringEquals": {"iam:PassedToService": service}},
        },
    )
    client = builds.sandbox.client("imagebuilder", builder)
    if may:
        assert builds.create(client=client)["imageBuildVersionArn"]
    else:
        assert "iam:PassRole" in refusal(builds.create, client=client)[2]


# GetImage ----------------------------------------------------------------------------------------


def test_get_image_finds_builds_by_their_exact_arn(builds: Builds) -> None:
    """A version ARN resolves to the latest AVAILABLE build, and no build here becomes AVAILABLE."""
    arn = builds.create()["imageBuildVersionArn"]
    assert builds.client.get_image(imageBuildVersionArn=arn)["image"]["arn"] == arn
    for other in (f"{ARN}:image/web/1.2.3", f"{ARN}:image/web/x.x.x", f"{ARN}:image/web/1.2.3/2"):
        assert refusal(builds.client.get_image, imageBuildVersionArn=other)[:2] == (
            "ResourceNotFoundException",
            404,
        )
    wrong = f"{ARN}:image/web/1.x.3"
    assert refusal(builds.client.get_image, imageBuildVersionArn=wrong)[0] == (
        "InvalidParameterValueException"
    )
    reader = builds.sandbox.client("imagebuilder", builds.sandbox.user("reader"))
    assert refusal(reader.get_image, imageBuildVersionArn=arn)[0] == "AccessDeniedException"
