"""Components, recipes and configurations: made, read, listed, tagged, deleted; and who may.

Sources: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateComponent.html,
https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2imagebuilder.html
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from in_process import Sandbox, allow, refusal, trust

COMPONENT = """\
name: hello
schemaVersion: 1.0
phases:
  - name: build
    steps:
      - name: say
        action: ExecuteBash
        inputs: {commands: ["echo hello"]}
"""
TEST = COMPONENT.replace("name: build", "name: test")
AMAZON = "arn:aws:imagebuilder:us-west-2:aws:component/update-linux/1.0.0/1"
PREFIX = "arn:aws:imagebuilder:us-west-2:111122223333:"
GIVEN: dict[str, dict[str, Any]] = {
    "component": {"name": "Say Hello", "semanticVersion": "1.0.0", "platform": "Linux",
                  "data": COMPONENT},
    "image_recipe": {"name": "web", "semanticVersion": "1.0.0", "parentImage": "ami-1",
                     "components": [{"componentArn": AMAZON}],
                     "blockDeviceMappings": [{"deviceName": "/dev/x", "ebs": {"encrypted": True}}]},
    "container_recipe": {"name": "box", "semanticVersion": "1.0.0", "parentImage": "ecr",
                         "containerType": "DOCKER", "dockerfileTemplateData": "FROM {{{ x }}}",
                         "targetRepository": {"service": "ECR", "repositoryName": "r"}},
    "infrastructure_configuration": {"name": "small", "instanceProfileName": "builders",
                                     "logging": {"s3Logs": {"s3BucketName": "logs"}}},
    "distribution_configuration": {"name": "world", "distributions": [
        {"region": "us-west-2", "amiDistributionConfiguration": {"name": "ami-{{ x }}"}}]},
}  # fmt: skip
ARNS = {
    "component": ("componentBuildVersionArn", f"{PREFIX}component/say-hello/1.0.0/1"),
    "image_recipe": ("imageRecipeArn", f"{PREFIX}image-recipe/web/1.0.0"),
    "container_recipe": ("containerRecipeArn", f"{PREFIX}container-recipe/box/1.0.0"),
    "infrastructure_configuration": (
        "infrastructureConfigurationArn",
        f"{PREFIX}infrastructure-configuration/small",
    ),
    "distribution_configuration": (
        "distributionConfigurationArn",
        f"{PREFIX}distribution-configuration/world",
    ),
}
KINDS = list(GIVEN)


@pytest.fixture
def sandbox() -> Sandbox:
    made = Sandbox()
    iam = made.client("iam")
    made.role("builder", trust({"Service": "ec2.amazonaws.com"}))
    iam.create_instance_profile(InstanceProfileName="builders")
    iam.add_role_to_instance_profile(InstanceProfileName="builders", RoleName="builder")
    return made


def create(client: Any, kind: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = getattr(client, f"create_{kind}")(**{**GIVEN[kind], **more})
    return made


def get(client: Any, kind: str, arn: str) -> dict[str, Any]:
    answer = getattr(client, f"get_{kind}")(**{ARNS[kind][0]: arn})
    answer.pop("ResponseMetadata")
    answer.pop("latestVersionReferences", None)
    (found,) = answer.values()
    return dict(found)


def listed(client: Any, kind: str, **asked: Any) -> list[dict[str, Any]]:
    answer = getattr(client, f"list_{kind}s")(**asked)
    return next(value for value in answer.values() if isinstance(value, list))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_made_is_read_listed_tagged_and_deleted(sandbox: Sandbox, kind: str) -> None:
    client, (member, arn) = sandbox.client("imagebuilder"), ARNS[kind]
    assert create(client, kind, tags={"team": "images"})[member] == arn
    found = get(client, kind, arn)
    assert {"arn": arn, "name": GIVEN[kind]["name"], "tags": {"team": "images"}}.items() <= (
        found.items()
    )
    (one,) = listed(client, kind)
    assert (one["arn"], one["name"]) == (arn.removesuffix("/1"), GIVEN[kind]["name"])
    client.tag_resource(resourceArn=arn, tags={"stage": "test"})
    assert get(client, kind, arn)["tags"] == {"team": "images", "stage": "test"}
    getattr(client, f"delete_{kind}")(**{member: arn})
    assert listed(client, kind) == []
    code, _, status = refusal(lambda: get(client, kind, arn))
    assert (code, status) == ("ResourceNotFoundException", 404)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_is_not_made_twice(sandbox: Sandbox, kind: str) -> None:
    client = sandbox.client("imagebuilder")
    first = create(client, kind, clientToken="one")
    assert create(client, kind, clientToken="one")[ARNS[kind][0]] == first[ARNS[kind][0]]
    assert refusal(lambda: create(client, kind))[0] == "ResourceAlreadyExistsException"
    assert refusal(lambda: create(client, kind, name="other", dryRun=True))[0] == (
        "DryRunOperationException"
    )
    assert len(listed(client, kind)) == 1


def test_a_component_gets_builds_and_its_latest_is_found_by_a_pattern(sandbox: Sandbox) -> None:
    client = sandbox.client("imagebuilder")
    create(client, "component")
    second = create(client, "component", data=TEST)["componentBuildVersionArn"]
    assert second.endswith("/1.0.0/2")
    found = get(client, "component", f"{PREFIX}component/say-hello/1.x.x")
    assert (found["arn"], found["type"], found["data"]) == (second, "TEST", TEST)
    version = f"{PREFIX}component/say-hello/1.0.0"
    builds = client.list_component_build_versions(componentVersionArn=version)
    arns = [one["arn"] for one in builds["componentSummaryList"]]
    assert arns == [f"{version}/2", f"{version}/1"]


@pytest.mark.parametrize(
    ("kind", "more", "code", "text"),
    [
        ("component", {"data": "[]"}, "InvalidParameterValueException", "schemaVersion 1.0"),
        ("component", {"data": "phases: [{name: x}]"}, "InvalidParameterValueException", "phases"),
        ("component", {"kmsKeyId": "alias/x"}, "InvalidParameterValueException", "key ARN"),
        ("component", {"semanticVersion": f"{2**30}.0.0"}, "InvalidVersionNumberException", ""),
        ("component", {"platform": "BeOS"}, "InvalidParameterValueException", "Windows"),
        ("image_recipe", {"components": [{"componentArn": f"{PREFIX}component/no/1.0.0/1"}]},
         "InvalidParameterValueException", "does not exist"),
        ("infrastructure_configuration", {"instanceProfileName": "absent"},
         "InvalidParameterValueException", "The provided instance profile does not exist"),
    ],
)  # fmt: skip
def test_what_is_refused(
    sandbox: Sandbox, kind: str, more: dict[str, Any], code: str, text: str
) -> None:
    said = refusal(lambda: create(sandbox.client("imagebuilder"), kind, **more))
    assert said[0] == code
    assert text in said[1]


def test_a_component_that_a_recipe_names_is_not_deleted(sandbox: Sandbox) -> None:
    client = sandbox.client("imagebuilder")
    arn = create(client, "component")["componentBuildVersionArn"]
    create(client, "image_recipe", components=[{"componentArn": arn}])
    code, text, _ = refusal(lambda: client.delete_component(componentBuildVersionArn=arn))
    assert (code, "image-recipe/web/1.0.0" in text) == ("ResourceDependencyException", True)


@pytest.mark.parametrize(
    ("kind", "member"), [("component", "data"), ("container_recipe", "dockerfileTemplateData")]
)
def test_a_document_under_a_key_is_opened_by_the_caller_s_right_to_it(
    sandbox: Sandbox, kind: str, member: str
) -> None:
    """As a workflow's is: GenerateDataKey and Decrypt as the caller, by Image Builder."""
    key = sandbox.client("kms").create_key()["KeyMetadata"]["Arn"]
    client = sandbox.client("imagebuilder")
    arn = create(client, kind, kmsKeyId=key)[ARNS[kind][0]]
    found = get(client, kind, arn)
    assert (found["kmsKeyId"], found["encrypted"]) == (key, True)
    assert found[member] == GIVEN[kind][member]
    for name in ("GenerateDataKey", "Decrypt"):
        record = sandbox.record(name)
        context = record["requestParameters"]["encryptionContext"]["aws:imagebuilder:arn"]
        assert record["userIdentity"]["invokedBy"] == "imagebuilder.amazonaws.com"
        assert context == f"{arn.removesuffix('/1')}/*"
    assert GIVEN[kind][member] not in json.dumps(sandbox.record(f"Create{_name(kind)}"))
    someone = sandbox.user("someone", allow("imagebuilder:*"))
    said = refusal(lambda: get(sandbox.client("imagebuilder", someone), kind, arn))
    assert said[0] == "ForbiddenException"
    assert "kms:Decrypt" in said[1]


def _name(kind: str) -> str:
    return "".join(word.title() for word in kind.split("_"))


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_needs_its_action(sandbox: Sandbox, kind: str) -> None:
    create(sandbox.client("imagebuilder"), kind)
    others = ("imagebuilder:GetComponent", "iam:PassRole")
    nobody = sandbox.client("imagebuilder", sandbox.user("nobody", allow(list(others))))
    arn = ARNS[kind][1]
    for call, action in (
        (lambda: create(nobody, kind, name="other"), f"Create{_name(kind)}"),
        (lambda: listed(nobody, kind), f"List{_name(kind)}s"),
        (lambda: getattr(nobody, f"delete_{kind}")(**{ARNS[kind][0]: arn}), f"Delete{_name(kind)}"),
    ):
        code, text, status = refusal(call)
        assert (code, status) == ("AccessDeniedException", 403)
        assert f"imagebuilder:{action}" in text


def test_an_infrastructure_configuration_passes_its_role(sandbox: Sandbox) -> None:
    one = sandbox.user("one", allow("imagebuilder:*"))
    kind = "infrastructure_configuration"
    said = refusal(lambda: create(sandbox.client("imagebuilder", one), kind))
    assert "iam:PassRole" in said[1]
    tokens = {"Null": {"imagebuilder:Ec2MetadataHttpTokens": "false"}}
    passing = allow("iam:PassRole", "arn:aws:iam::111122223333:role/builder")
    two = sandbox.user("two", allow("imagebuilder:*", Condition=tokens), passing)
    client = sandbox.client("imagebuilder", two)
    assert refusal(lambda: create(client, kind))[0] == "AccessDeniedException"
    create(client, kind, instanceMetadataOptions={"httpTokens": "required"})


def test_there_are_no_pipelines(sandbox: Sandbox) -> None:
    client = sandbox.client("imagebuilder")
    assert client.list_image_pipelines()["imagePipelineList"] == []
