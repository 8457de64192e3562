"""Components, recipes, infrastructure and distribution configurations: made, read, listed, deleted.

They are kept as they were asked for; no build uses them (`images` checks ARNs for their form only).
A component's document is encrypted as a workflow's is: by the Encryption SDK, through a forward
access session of the caller, under the key that CreateComponent names. UNCONFIRMED: the encryption
context of a component; that it has ``aws:imagebuilder:arn`` is in the policy
EC2InstanceProfileForImageBuilder, its value is taken to be as a workflow's. So are container
recipes' Dockerfile templates, of which nothing is documented but that they take a key.

Not imitated: `byName`, other owners than Self, documents and templates by URI, versions with
wildcards in a new recipe, and ec2:DescribeImages for a recipe's parent image. There are no
pipelines: their list is empty, since none can be made.

Sources: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateComponent.html and
those of the other operations;
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2imagebuilder.html
https://docs.aws.amazon.com/aws-managed-policy/latest/reference/EC2InstanceProfileForImageBuilder.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import yaml
from iamaccess import ContextValue

from awssandbox.call import DERIVED, Access, Answer, Call, Operation
from awssandbox.errors import AwsError, not_imitated
from awssandbox.imagebuilder import errors
from awssandbox.imagebuilder.arns import ResourceArn, owner_of, resource_name
from awssandbox.imagebuilder.encryption import (
    SERVICE,
    KmsRefusal,
    decrypt,
    encrypt,
    encryption_context,
)
from awssandbox.imagebuilder.limits import check_limits
from awssandbox.imagebuilder.requests import (
    filters,
    fingerprint,
    once,
    page,
    request_tags,
    resource_tags,
    state_of,
    timestamp,
)
from awssandbox.imagebuilder.state import Encrypted, Resource
from awssandbox.imagebuilder.versions import (
    VersionBoundsError,
    VersionSyntaxError,
    WildcardOrderError,
    latest,
    parse_pattern,
    parse_version,
    version_references,
)
from awssandbox.imagebuilder.workflows import KEY_ARN


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource: its name in operations, in ARNs, and what its answers hold.

    `document` is the parameter that is encrypted, `shown` what its list shows beside the rest.
    """

    name: str
    path: str
    versioned: bool
    shown: tuple[str, ...]
    listed: str
    builds: bool = False
    document: str | None = None
    filtered: tuple[str, ...] = ("name",)

    @property
    def member(self) -> str:
        """``imageRecipe`` of ``ImageRecipe``."""
        return self.name[0].lower() + self.name[1:]

    @property
    def arn_member(self) -> str:
        """The parameter that names one."""
        return f"{self.member}{'BuildVersion' if self.builds else ''}Arn"


COMPONENT: Final = Kind(
    "Component", "component", True,
    ("platform", "supportedOsVersions", "type", "owner"), "componentVersionList",
    builds=True, document="data", filtered=("name", "platform", "type", "version", "description"),
)  # fmt: skip
CONTAINER_RECIPE: Final = Kind(
    "ContainerRecipe", "container-recipe", True,
    ("containerType", "platform", "owner", "parentImage", "tags"), "containerRecipeSummaryList",
    document="dockerfileTemplateData", filtered=("name", "parentImage", "containerType"),
)  # fmt: skip
IMAGE_RECIPE: Final = Kind(
    "ImageRecipe", "image-recipe", True,
    ("platform", "owner", "parentImage", "tags"), "imageRecipeSummaryList",
    filtered=("name", "parentImage"),
)  # fmt: skip
INFRASTRUCTURE: Final = Kind(
    "InfrastructureConfiguration", "infrastructure-configuration", False,
    ("description", "resourceTags", "tags", "instanceTypes", "instanceProfileName", "placement"),
    "infrastructureConfigurationSummaryList",
)  # fmt: skip
DISTRIBUTION: Final = Kind(
    "DistributionConfiguration", "distribution-configuration", False,
    ("description", "tags"), "distributionConfigurationSummaryList",
)  # fmt: skip
KINDS: Final = (COMPONENT, CONTAINER_RECIPE, IMAGE_RECIPE, INFRASTRUCTURE, DISTRIBUTION)

TIMEOUT_MINUTES: Final = 720
"""Of a distribution configuration, which must show one and is given none. UNCONFIRMED."""
_NOT_KEPT: Final = frozenset({"clientToken", "dryRun", "semanticVersion", "uri"})


# --- what must be allowed ------------------------------------------------------------------------


def _arn(call: Call, kind: Kind) -> ResourceArn:
    """The ARN of what a call is to make, without a build; a configuration's has no version."""
    given = call.parameters
    path = f"{kind.path}/{resource_name(given['name'])}"
    version = given.get("semanticVersion", "")
    return ResourceArn(call.world.partition, call.region, call.account, path, version)


def _text(arn: ResourceArn) -> str:
    return str(arn) if arn.version else arn.unversioned


def _create_access(kind: Kind) -> Callable[[Call], Sequence[Access]]:
    def access(call: Call) -> Sequence[Access]:
        check_limits(call)
        given, tags = call.parameters, request_tags(call)
        arn = _text(_arn(call, kind)) + ("/*" if kind.builds else "")
        context: dict[str, ContextValue] = {**tags, **_created(given)}
        needed = [Access(f"imagebuilder:{call.operation}", arn, context)]
        needed += [
            Access("imagebuilder:GetComponent", one["componentArn"],
                   resource_account=owner_of(one["componentArn"]))
            for one in given.get("components", ())
        ]  # fmt: skip
        if tags:
            needed.append(Access("imagebuilder:TagResource", arn, tags))
        if kind is INFRASTRUCTURE:
            needed += _pass_role(call)
        return needed

    return access


def _created(given: Mapping[str, Any]) -> dict[str, ContextValue]:
    """The condition keys of an infrastructure configuration."""
    keys: dict[str, ContextValue] = {}
    if tags := given.get("resourceTags"):
        keys |= {f"imagebuilder:CreatedResourceTag/{key}": value for key, value in tags.items()}
        keys["imagebuilder:CreatedResourceTagKeys"] = tuple(sorted(tags))
    if tokens := given.get("instanceMetadataOptions", {}).get("httpTokens"):
        keys["imagebuilder:Ec2MetadataHttpTokens"] = tokens
    if topic := given.get("snsTopicArn"):
        keys["imagebuilder:StatusTopicArn"] = topic
    return keys


def _pass_role(call: Call) -> list[Access]:
    """``iam:PassRole`` on the role of the instance profile.

    Raises AwsError for a profile that is not there.
    Source of the text: https://github.com/aws/aws-cdk/issues/11441
    """
    name = call.parameters["instanceProfileName"]
    if call.world.iam.resource(call.account, "instance-profile", name) is None:
        raise errors.invalid_value(
            "instanceProfileName",
            "The provided instance profile does not exist. Please specify a different instance "
            "profile and try again.",
        )
    asked = {"InstanceProfileName": name}
    maker = call.caller.principal.arn
    found = call.world.iam.run(call.account, "GetInstanceProfile", asked, maker)
    roles = found["InstanceProfile"].get("Roles", ())
    passed = {"iam:PassedToService": "ec2.amazonaws.com"}
    return [Access("iam:PassRole", one["Arn"], passed) for one in roles]


def _on_one(kind: Kind) -> Callable[[Call], Sequence[Access]]:
    def access(call: Call) -> Sequence[Access]:
        check_limits(call)
        arn: str = call.parameters[kind.arn_member]
        held = state_of(call).resources.get(arn)
        context = {} if held is None else resource_tags(held.tags)
        action = f"imagebuilder:{call.operation}"
        return [Access(action, arn, context, resource_account=owner_of(arn))]

    return access


def _on_all(call: Call) -> Sequence[Access]:
    check_limits(call)
    return [Access(f"imagebuilder:{call.operation}")]


def _on_version(call: Call) -> Sequence[Access]:
    check_limits(call)
    everything = f"arn:{call.world.partition}:imagebuilder:{call.region}:{call.account}"
    arn = call.parameters.get("componentVersionArn", f"{everything}:component/*")
    return [Access("imagebuilder:ListComponentBuildVersions", arn, resource_account=owner_of(arn))]


# --- making ---------------------------------------------------------------------------------------


def _create(kind: Kind) -> Callable[[Call], Answer]:
    def serve(call: Call) -> Answer:
        output = once(call, lambda: _made(call, kind))
        shown = {name: value for name, value in output.items() if name != "latestVersionReferences"}
        return Answer(output, record_request=_recorded(call), record_response=shown)

    return serve


def _recorded(call: Call) -> Mapping[str, Any] | None:
    """The parameters for CloudTrail, without a text that is to be encrypted."""
    if call.parameters.get("kmsKeyId") is None:
        return DERIVED
    texts = ("data", "dockerfileTemplateData")
    return {key: value for key, value in call.parameters.items() if key not in texts}


def _made(call: Call, kind: Kind) -> dict[str, Any]:
    given, state = call.parameters, state_of(call)
    detail = _detail(call, kind)
    arn = _arn(call, kind)
    content = fingerprint(
        [kind.name, detail, given.get(kind.document or ""), given.get("kmsKeyId")]
    )
    same = [one for one in state.resources.values() if one.arn.version_arn == arn.version_arn]
    if same and not (kind.builds and _newest(same).fingerprint != content):
        raise errors.already_exists(kind.name, _text(_newest(same).arn))
    if given.get("dryRun"):
        raise errors.dry_run_succeeded()
    if kind.builds:
        build = 1 + max((one.arn.build or 0 for one in same), default=0)
        arn = replace(arn, build=build)
    state.resources[_text(arn)] = Resource(
        arn=arn,
        kind=kind.name,
        date_created=timestamp(call.time),
        detail=detail,
        fingerprint=content,
        body=None if kind.document is None else _body(call, kind, arn),
        tags=dict(given.get("tags") or {}),
    )
    made = {"clientToken": given["clientToken"], kind.arn_member: _text(arn)}
    if kind.versioned:
        version = parse_version(arn.version)
        made["latestVersionReferences"] = version_references(arn.unversioned, version)
    return made


def _newest(found: Sequence[Resource]) -> Resource:
    return max(found, key=lambda one: one.arn.build or 0)


def _detail(call: Call, kind: Kind) -> dict[str, Any]:
    """What a Get answers, but for the ARN, the times, the tags and what is encrypted."""
    given = call.parameters
    if "uri" in given or "dockerfileTemplateUri" in given:
        raise not_imitated(f"{kind.name} documents by URI")
    if kind.versioned:
        _check_version(given["semanticVersion"])
    if (key := given.get("kmsKeyId")) is not None and not KEY_ARN.fullmatch(key):
        raise errors.invalid_value("kmsKeyId", "Specify the key ARN or the alias ARN of a key.")
    for one in given.get("components", ()):
        _check_component(call, one["componentArn"])
    left_out = _NOT_KEPT | {"tags", kind.document or "", "platformOverride"}
    detail = {name: value for name, value in given.items() if name not in left_out}
    if kind.versioned:
        detail |= {"version": given["semanticVersion"], "owner": call.account}
    if kind is COMPONENT:
        if given.get("data") is None:
            raise errors.invalid_combination(
                "You must specify exactly one of the 'data' or 'uri' properties."
            )
        detail |= {"type": _component_type(given["data"]), "encrypted": True}
    if kind is DISTRIBUTION:
        detail["timeoutMinutes"] = TIMEOUT_MINUTES
    if kind is CONTAINER_RECIPE:
        detail |= {"encrypted": True, "platform": given.get("platformOverride", "Linux")}
    return detail


def _check_version(text: str) -> None:
    if "x" in text:
        raise not_imitated("a new recipe's version with wildcards")
    try:
        parse_version(text)
    except VersionBoundsError:
        raise errors.version_out_of_bounds() from None


def _check_component(call: Call, arn: str) -> None:
    """A component of the account must be there; others' are not looked for."""
    if owner_of(arn) == call.account and _find(call, arn) is None:
        raise errors.invalid_value("components", f"The component '{arn}' does not exist.")


def _component_type(text: str) -> str:
    """BUILD or TEST, by the phases of a component's document.

    Its steps' inputs are not judged. Raises InvalidParameterValueException.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/toe-use-documents.html
    """
    try:
        document = yaml.safe_load(text)
        phases = document["phases"]
        names = [phase["name"] for phase in phases]
        steps = [step for phase in phases for step in phase["steps"]]
        whole = bool(names) and all({"name", "action"} <= set(step) for step in steps)
        known = str(document.get("schemaVersion")) == "1.0" and whole
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        known, names = False, []
    if not known:
        raise errors.invalid_value(
            "data",
            "A component document has schemaVersion 1.0 and phases, each with a name and steps, "
            "each with a name and an action.",
        )
    return "TEST" if names == ["test"] else "BUILD"


def _body(call: Call, kind: Kind, arn: ResourceArn) -> str | Encrypted:
    text: str = call.parameters.get(kind.document or "", "")
    key = call.parameters.get("kmsKeyId")
    if key is None or not text:
        return text
    try:
        return encrypt(call.forward(SERVICE), key, encryption_context(arn), text)
    except KmsRefusal as refusal:
        raise _refused("encrypt", kind, key, refusal.cause) from None


def _refused(verb: str, kind: Kind, key: str, cause: AwsError) -> AwsError:
    if cause.status >= 500:
        return cause
    return errors.kms_refused(verb, key, cause, kind.path.replace("-", " "))


# --- reading --------------------------------------------------------------------------------------


def _find(call: Call, text: str) -> Resource | None:
    """The resource that an ARN names, or the latest that its version pattern matches."""
    state = state_of(call)
    if text in state.resources:
        return state.resources[text]
    unversioned, _, pattern = text.rpartition("/")
    try:
        wanted = parse_pattern(pattern)
    except (VersionSyntaxError, WildcardOrderError, VersionBoundsError):
        return None
    candidates = [one for one in state.resources.values() if one.arn.unversioned == unversioned]
    return latest(
        ((parse_version(one.arn.version), one.arn.build or 0, one) for one in candidates), wanted
    )


def _get(kind: Kind) -> Callable[[Call], Answer]:
    def serve(call: Call) -> Answer:
        arn: str = call.parameters[kind.arn_member]
        found = _find(call, arn)
        if found is None:
            if not (owner_of(arn) or "").isdigit():
                raise not_imitated("the resources that Image Builder manages")
            raise errors.not_found(arn)
        answer: dict[str, Any] = {kind.member: _shown(call, kind, found)}
        if kind.versioned:
            version = parse_version(found.arn.version)
            answer["latestVersionReferences"] = version_references(found.arn.unversioned, version)
        return Answer(answer)

    return serve


def _shown(call: Call, kind: Kind, found: Resource) -> dict[str, Any]:
    detail = {"arn": _text(found.arn), "dateCreated": found.date_created, **found.detail}
    if found.tags:
        detail["tags"] = dict(found.tags)
    if isinstance(found.body, Encrypted):
        try:
            detail[kind.document or ""] = decrypt(call.forward(SERVICE), found.body)
        except KmsRefusal as refusal:
            raise _refused("decrypt", kind, str(detail["kmsKeyId"]), refusal.cause) from None
    elif found.body:
        detail[kind.document or ""] = found.body
    return detail


def _list(kind: Kind) -> Callable[[Call], Answer]:
    """By name, the newest version first; of a component the latest build of each version."""

    def serve(call: Call) -> Answer:
        owner = call.parameters.get("owner", "Self")
        if owner != "Self":
            raise not_imitated(f"{call.operation} of the owner {owner}")
        if call.parameters.get("byName"):
            raise not_imitated(f"{call.operation} with byName")
        keeps = filters(call, {name: _reader(name) for name in kind.filtered})
        newest: dict[str, Resource] = {}
        for one in _sorted(state_of(call).resources.values(), kind):
            newest.setdefault(one.arn.version_arn, one)
        found = [one for one in newest.values() if all(keep(one) for keep in keeps)]
        items, token = page(call, found)
        summaries = [_summary(kind, one, one.arn.version_arn) for one in items]
        return Answer({kind.listed: summaries, **({"nextToken": token} if token else {})})

    return serve


def _list_builds(call: Call) -> Answer:
    wanted = call.parameters.get("componentVersionArn")
    found = [
        one
        for one in _sorted(state_of(call).resources.values(), COMPONENT)
        if wanted in (None, one.arn.version_arn)
    ]
    items, token = page(call, found)
    shown = [
        {**_summary(COMPONENT, one, str(one.arn)), **({"tags": dict(one.tags)} if one.tags else {})}
        for one in items
    ]
    return Answer({"componentSummaryList": shown, **({"nextToken": token} if token else {})})


def _reader(name: str) -> Callable[[Resource], str]:
    return lambda one: str(one.detail.get(name, ""))


def _sorted(resources: Any, kind: Kind) -> list[Resource]:
    mine = [one for one in resources if one.kind == kind.name]
    if not kind.versioned:
        return sorted(mine, key=lambda one: one.arn.path)
    newest = sorted(
        mine,
        key=lambda one: (parse_version(one.arn.version).nodes, one.arn.build or 0),
        reverse=True,
    )
    return sorted(newest, key=lambda one: one.arn.path)


def _summary(kind: Kind, one: Resource, arn: str) -> dict[str, Any]:
    whole = {**one.detail, "tags": dict(one.tags) or None}
    common = ("name", "version", "description") if kind is COMPONENT else ("name",)
    shown = {name: whole[name] for name in (*common, *kind.shown) if whole.get(name) is not None}
    if kind is DISTRIBUTION:
        shown["regions"] = [place["region"] for place in one.detail["distributions"]]
    text = arn if kind.versioned else one.arn.unversioned
    return {"arn": text, "dateCreated": one.date_created, **shown}


def _no_pipelines(call: Call) -> Answer:
    """None can be made here, so there is none."""
    return Answer({"imagePipelineList": []})


# --- deleting -------------------------------------------------------------------------------------


def _delete(kind: Kind) -> Callable[[Call], Answer]:
    def serve(call: Call) -> Answer:
        arn: str = call.parameters[kind.arn_member]
        resources = state_of(call).resources
        if arn not in resources:
            raise errors.not_found(arn)
        users = [
            _text(one.arn)
            for one in resources.values()
            if any(part["componentArn"] == arn for part in one.detail.get("components", ()))
        ]
        if users:
            raise errors.in_use(arn, users)
        del resources[arn]
        output = {kind.arn_member: arn}
        return Answer(output, record_response=output)

    return serve


# --- the table ------------------------------------------------------------------------------------


def _of(kind: Kind) -> dict[str, Operation]:
    on_one = _on_one(kind)
    return {
        f"Create{kind.name}": Operation(
            _create(kind), _create_access(kind), False, refused_request=_recorded
        ),
        f"Get{kind.name}": Operation(_get(kind), on_one, read_only=True),
        f"List{kind.name}s": Operation(_list(kind), _on_all, read_only=True),
        f"Delete{kind.name}": Operation(_delete(kind), on_one, read_only=False),
    }


OPERATIONS: Final[Mapping[str, Operation]] = {
    **{name: made for kind in KINDS for name, made in _of(kind).items()},
    "ListComponentBuildVersions": Operation(_list_builds, _on_version, read_only=True),
    "ListImagePipelines": Operation(_no_pipelines, _on_all, read_only=True),
}
