"""The operator's least privilege: what the chosen steps call, on what, under which conditions.

Pure: step names, parameters and a place in, an IAM policy document out. It is for a run on AWS;
with ``target = "sandbox"`` it also has what only a run on the sandbox does: it makes the execution
role, and builds. GetCallerIdentity needs no permission. The operator's own policies are read where
they may be, to decide more; nothing fails without, so no permission for it is here.

Where a resource is not known before, a condition narrows it: a key that the run makes carries the
tag ``keyrunbook:run``. Two things to know of that:

- KMS may take minutes to heed a tag. A step that is refused for it is run again.
- CreateKey with tags needs kms:TagResource, and no condition key ties that to the creation. So
  whoever has it can put this tag on any key, and use that; no other tag, and with `run_id` no other
  value. Who must not be able to is given a key that is there, by `key_arn`; `warnings` says so.

A workflow document in S3 is read by the operator, and by Image Builder for the operator: both by
s3:GetObject on that object. One under a KMS key of yours takes kms:Decrypt of that key as well, and
one of another account its bucket's policy: neither is known here.

CreateWorkflow's and GetWorkflow's calls of KMS are the caller's own, made by Image Builder for it.
The reference lists further dependent actions of CreateWorkflow (kms:Encrypt,
kms:GenerateDataKeyWithoutPlaintext, s3:GetObject, s3:ListBucket); a workflow given by `data`
under a key leads to GenerateDataKey alone, by the page on data protection.

Sources, for actions, resource types and condition keys:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awskeymanagementservice.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2imagebuilder.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudtrail.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
https://docs.aws.amazon.com/kms/latest/developerguide/abac.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_forward_access_sessions.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyrunbook.errors import ParameterError
from keyrunbook.parameters import Parameters, asks_for_alias, check_build, check_build_account
from keyrunbook.policies import CONTEXT_KEY, VERSION, Document, workflow_path
from keyrunbook.records import IMAGE_BUILDER

SIZE_LIMIT: Final = 6_144
"""Characters of a managed policy, white space not counted.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

OWNERS_ONLY: Final = {
    *("kms:CreateAlias", "kms:DeleteAlias", "kms:EnableKeyRotation", "kms:DisableKeyRotation"),
    *("kms:GetKeyPolicy", "kms:PutKeyPolicy", "kms:DisableKey", "kms:EnableKey"),
}
"""What the principals of another account than a key's own cannot do with it.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html
"""

RUN_TAG: Final = "keyrunbook:run"
EMERGENCY: Final = "05_emergency_stop"
"""What `runbook emergency-stop` is called among the steps."""
SCORECARD: Final = "00_scorecard"
"""What the reads of the data-protection scorecard are called among the steps; none is needed."""

Conditions = Mapping[str, Mapping[str, str | list[str]]]

_PARTITIONS: Final = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


@dataclass(frozen=True, slots=True)
class Where:
    """Partition, Region and account number that the steps are to work in."""

    partition: str
    region: str
    account: str


@dataclass(frozen=True, slots=True)
class _Need:
    """What a step must be allowed, for one purpose; a purpose is words without spaces."""

    purpose: str
    actions: Sequence[str]
    resources: Sequence[str] = ("*",)
    conditions: Conditions | None = None


def partition_of(region: str) -> str:
    """The partition of a Region, by its name's beginning.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """
    return next((p for begins, p in _PARTITIONS.items() if region.startswith(begins)), "aws")


def operator_policy(steps: Iterable[str], parameters: Parameters, where: Where) -> Document:
    """The policy under which an operator can do `steps`, and no more; `EMERGENCY` counts as one.

    Each permission is stated once: in the first of the steps that needs it. Where the policy would
    be too long, statements of the same bounds become one, whose Sid has all their names.
    Raises ParameterError when the execution role is another account's, when `run_build` asks for
    a build on AWS and what it is made of is not given, or when the policy is too long for a managed
    policy.
    """
    steps = tuple(steps)
    scope = _Scope(parameters, where, steps)
    stated: set[tuple[str, str]] = set()
    statements = []
    for step in steps:
        for need in _NEEDS[step](scope):
            bound = json.dumps([need.resources, need.conditions], sort_keys=True)
            actions = [
                action
                for action in need.actions
                if (action, bound) not in stated and not (scope.central and action in OWNERS_ONLY)
            ]
            stated |= {(action, bound) for action in actions}
            if actions:
                statements.append(_statement(step, need, actions))
    policy = {"Version": VERSION, "Statement": statements}
    if size(policy) > SIZE_LIMIT:
        policy = {"Version": VERSION, "Statement": _together(statements)}
    if (length := size(policy)) > SIZE_LIMIT:
        raise ParameterError(
            f"The policy would have {length} characters; a managed policy takes {SIZE_LIMIT}.",
            "Print it in parts, such as --steps 00..03 and --steps 04..06, or use shorter names.",
        )
    return policy


def actions(steps: Iterable[str], parameters: Parameters, where: Where) -> frozenset[str]:
    """The actions that `steps` need; `EMERGENCY` and `SCORECARD` count as steps.

    Raises ParameterError as `operator_policy` does.
    """
    policies = [operator_policy((step,), parameters, where) for step in steps]
    named = [one["Action"] for policy in policies for one in policy["Statement"]]
    return frozenset(
        action for listed in named for action in ([listed] if isinstance(listed, str) else listed)
    )


def _together(statements: Iterable[Document]) -> list[Document]:
    """The same with one statement for each resources and conditions."""
    found: dict[str, Document] = {}
    for one in statements:
        bound = json.dumps([one["Resource"], one.get("Condition")], sort_keys=True)
        if (first := found.get(bound)) is None:
            found[bound] = one
            continue
        both = [
            action
            for listed in (first["Action"], one["Action"])
            for action in ([listed] if isinstance(listed, str) else listed)
        ]
        sid = first["Sid"] + one["Sid"].removeprefix("Step")
        found[bound] = {**first, "Sid": sid, "Action": list(dict.fromkeys(both))}
    return list(found.values())


def warnings(steps: Iterable[str], parameters: Parameters) -> list[str]:
    """What to know of the policy for these steps before somebody is given it; sentences."""
    steps = tuple(steps)
    said = _by_default(steps, parameters)
    if parameters.key_arn is not None:
        return said
    if parameters.run_id is None:
        said.append("Without run_id it is for the keys of all runs.")
    if "01_create_key" in steps:
        said.append(
            f"With kms:TagResource its holder can put the tag {RUN_TAG} on any key of the account "
            "and Region, and then use that key. Give a key that is there by key_arn to avoid it."
        )
    return said


_BY_DEFAULT: Final = {
    "key_alias": ("01_create_key", "06_clean_up"),
    "execution_role": ("02_grant_access", "05_revoke_access", "06_clean_up"),
    "workflow_name": ("03_encrypt_workflow", "04_confirm_events", "06_clean_up"),
    "tags": ("01_create_key",),
}
"""The parameters that narrow the policy also where they are not given, and the steps that do."""


def _by_default(steps: Sequence[str], parameters: Parameters) -> list[str]:
    """What the policy is narrowed to without having been told so: one sentence, or none."""
    apart = set() if parameters.key_arn is None else {"tags", "key_alias"}  # it gets neither
    names = [
        name
        for name, users in _BY_DEFAULT.items()
        if name not in parameters.model_fields_set | apart and set(users) & set(steps)
    ]
    if not names:
        return []
    values = ", ".join(f"{name} {getattr(parameters, name) or 'none'}" for name in names)
    return [
        f"It is narrowed to the defaults of what was not given: {values}. Give by -p what the run "
        "will have otherwise."
    ]


def size(policy: Mapping[str, Any]) -> int:
    """A document's length as IAM counts it: without white space."""
    return len(re.sub(r"\s", "", json.dumps(policy)))


def _statement(step: str, need: _Need, actions: Sequence[str]) -> Document:
    number = step.split("_", 1)[0]  # not the name: a policy's characters are few
    statement: Document = {
        "Sid": f"Step{number}{need.purpose}",
        "Effect": "Allow",
        "Action": _one_or_list(actions),
        "Resource": _one_or_list(need.resources),
    }
    if need.conditions:
        statement["Condition"] = {key: dict(value) for key, value in need.conditions.items()}
    return statement


def _one_or_list(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


class _Scope:
    """The resources and conditions of one run, as far as they are known before it."""

    def __init__(self, parameters: Parameters, where: Where, steps: Sequence[str]) -> None:
        self._where = where
        self.sandbox = parameters.target == "sandbox"
        self.makes_key = parameters.key_arn is None
        self.central = parameters.key_arn is not None and where.account not in parameters.key_arn
        check_build(parameters, "sandbox" if self.sandbox else "aws", where.region)
        check_build_account(parameters, where.account)
        self.builds = parameters.run_build is not False and (
            self.sandbox or parameters.run_build is True
        )
        self.recipe = parameters.build_recipe or self.image_builder("image-recipe/example/*")
        self.machines = parameters.build_infrastructure or self.image_builder(
            "infrastructure-configuration/example"
        )
        self.images = (self.image_builder(f"image/{self.recipe.split('/')[1]}/*"),)
        run = parameters.run_id or "*"
        self.new: Conditions = {"StringLike": {f"aws:RequestTag/{RUN_TAG}": run}}
        """What is made carries the run's tag."""
        self.tagging: Conditions = {
            **self.new,
            "ForAllValues:StringEquals": {"aws:TagKeys": [RUN_TAG, *sorted(parameters.tags)]},
        }
        """No other tags are put on a key than the run's."""
        self.own: Conditions = {"StringLike": {f"aws:ResourceTag/{RUN_TAG}": run}}
        """What is there carries the run's tag."""
        self.key_bound = self.own if self.makes_key else None
        self.keys = (parameters.key_arn or self._arn("kms", "key/*"),)
        named = self.makes_key or asks_for_alias(parameters)
        self.alias = (self._arn("kms", parameters.key_alias),) if named else ()
        """The alias that the key gets, if any."""
        asked = parameters.rotate_key
        self.rotates = self.makes_key if asked is None else asked
        """Whether the key's rotation may be turned on."""
        path = workflow_path(parameters.workflow_type, parameters.workflow_name)
        self.workflow = (self.image_builder(f"{path}/*"),)
        self.all_images = (self.image_builder("image/*"),)
        self.all_workflows = (self.image_builder("workflow/*"),)
        inventory = bool({"05_revoke_access", EMERGENCY} & set(steps)) or (
            self.makes_key and "06_clean_up" in steps
        )
        self.readable = self.all_workflows if inventory else self.workflow
        """What is read: the run's workflow; by 05 and 06 all, to know which are under the key."""
        name = parameters.execution_role.rsplit("/", 1)[-1]
        self.sessions = f"arn:{where.partition}:sts::{where.account}:assumed-role/{name}/*"
        """The role's sessions, which a grant may be given to as well."""
        self.role = self._role(parameters.execution_role)
        self.document = _objects(parameters.workflow_uri, where.partition)
        iam = f"arn:{where.partition}:iam::"
        self.attached = (f"{iam}{where.account}:policy/*", f"{iam}aws:policy/*")
        """Policies that may be attached to the role: the account's, and AWS's."""

    def _arn(self, service: str, resource: str) -> str:
        where = self._where
        return f"arn:{where.partition}:{service}:{where.region}:{where.account}:{resource}"

    def image_builder(self, resource: str) -> str:
        """The ARN of a resource of Image Builder's."""
        return self._arn("imagebuilder", resource)

    def _role(self, role: str) -> Sequence[str]:
        """The ARNs that the role may have: an account has each name once only."""
        account = self._where.account
        iam = f"arn:{self._where.partition}:iam::{account}:role/"
        name = role.rsplit("/", 1)[-1]
        if not role.startswith("arn:"):
            # A role that is there may have a path; the sandbox's has none.
            return (f"{iam}{name}", *(() if self.sandbox else (f"{iam}*/{name}",)))
        if not role.startswith(iam):
            raise ParameterError(
                f"execution_role = {role!r} is not of the account {account} "
                f"in the partition {self._where.partition}.",
                "Give a role of the account that the run works in, or correct --account.",
            )
        # IAM looks for a role by its name: one that is not there has no path.
        return tuple(dict.fromkeys((role, f"{iam}{name}")))

    def by_image_builder(self, workflow: Sequence[str]) -> Conditions:
        """KMS is called by Image Builder for the operator, about this workflow, with this key."""
        tag = {} if self.key_bound is None else self.key_bound["StringLike"]
        return {
            "StringLike": {**tag, CONTEXT_KEY: workflow[0]},
            "ForAnyValue:StringEquals": {"aws:CalledVia": IMAGE_BUILDER},
        }


def _objects(uri: str | None, partition: str) -> Sequence[str]:
    """The object that ``s3://bucket/key`` names, by its ARN."""
    return () if uri is None else (f"arn:{partition}:s3:::{uri.removeprefix('s3://')}",)


def _preflight(scope: _Scope) -> Iterator[_Need]:
    yield _Need(
        "Look",
        (
            "kms:ListAliases",
            "imagebuilder:ListWorkflows",
            "cloudtrail:LookupEvents",
            "cloudtrail:DescribeTrails",
            # A trail of all Regions may be at home in any, an organization's in another account.
            "cloudtrail:GetTrailStatus",
            "cloudtrail:GetEventSelectors",
            "iam:ListRoles",
        ),
    )


def _scorecard(scope: _Scope) -> Iterator[_Need]:
    """What the scorecard reads, beyond what the steps do. Each may be refused: it says so then."""
    readable = ("Component", "ImageRecipe", "ContainerRecipe")
    settings = ("InfrastructureConfiguration", "DistributionConfiguration")
    lists = [f"imagebuilder:List{kind}s" for kind in ("Workflow", *readable, *settings)]
    gets = [f"imagebuilder:Get{kind}" for kind in (*readable, *settings)]
    yield _Need(
        "Account",
        (
            *("iam:GetAccountSummary", "iam:ListUsers", "iam:ListMFADevices"),
            *("iam:ListAccessKeys", "sso:ListInstances", "macie2:GetMacieSession"),
            *("ec2:GetEbsEncryptionByDefault", "ec2:GetEbsDefaultKmsKeyId"),
            *("s3:GetEncryptionConfiguration", "cloudtrail:LookupEvents"),
            *("cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus"),
            "cloudtrail:GetEventSelectors",
        ),
    )
    owns = ("GetUserPolicy", "ListUserPolicies", "ListAttachedUserPolicies", "ListGroupsForUser")
    groups = ("GetGroupPolicy", "ListGroupPolicies", "ListAttachedGroupPolicies")
    roles = ("GetRolePolicy", "ListRolePolicies", "ListAttachedRolePolicies")
    managed = ("GetPolicy", "GetPolicyVersion")
    yield _Need("Own", [f"iam:{name}" for name in (*owns, *groups, *roles, *managed)])
    more = ("ImagePipelines", "ComponentBuildVersions", "Images", "ImageBuildVersions")
    lists += [f"imagebuilder:List{kind}" for kind in more]
    yield _Need("Resources", (*lists, *gets, *_READS))
    keys = ("kms:ListKeys", "kms:ListAliases", "kms:DescribeKey", "kms:ListResourceTags")
    yield _Need("Keys", keys)
    everything = scope.by_image_builder((scope.image_builder("*"),))
    opened = {**everything, "StringLike": {CONTEXT_KEY: scope.image_builder("*")}}
    yield _Need("Open", ("kms:Decrypt",), ("*",), opened)


def _create_key(scope: _Scope) -> Iterator[_Need]:
    if scope.makes_key:
        yield _Need("New", ("kms:CreateKey",), conditions=scope.new)
        yield _Need("Tag", ("kms:TagResource",), scope.keys, scope.tagging)
        # A key whose CreateKey has no known outcome is found by its tag, among all.
        yield _Need("Settle", ("kms:ListKeys",))
        yield _Need("SettleTags", ("kms:ListResourceTags",), scope.keys)
    actions = ["kms:DescribeKey", "kms:GetKeyRotationStatus"]
    if scope.rotates:
        actions.append("kms:EnableKeyRotation")
    if scope.makes_key:  # KMS makes no key whose policy its maker could not put again
        actions.append("kms:PutKeyPolicy")
    if scope.alias:
        actions.append("kms:CreateAlias")
    yield _Need("Use", actions, scope.keys, scope.key_bound)
    if scope.alias:
        yield _Need("Alias", ("kms:CreateAlias",), scope.alias)


def _access(scope: _Scope, *more: str) -> Iterator[_Need]:
    """Read what decides who may use the key, and change the two policies; `more` on the role."""
    key = ("kms:GetKeyPolicy", "kms:ListGrants", "kms:PutKeyPolicy")
    yield _Need("Key", key, scope.keys, scope.key_bound)
    reads = ("iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies")
    yield _Need(
        "Role",
        (*reads, "iam:ListAttachedRolePolicies", "iam:PutRolePolicy", *more),
        scope.role,
    )
    if not scope.sandbox:  # a role that was there before may have policies attached
        yield _Need("Attached", ("iam:GetPolicy", "iam:GetPolicyVersion"), scope.attached)


def _grant_access(scope: _Scope) -> Iterator[_Need]:
    if scope.sandbox:
        yield _Need("NewRole", ("iam:CreateRole", "iam:TagRole"), scope.role, scope.new)
    yield from _access(scope)


def _encrypt_workflow(scope: _Scope) -> Iterator[_Need]:
    yield _Need("List", ("imagebuilder:ListWorkflows",))
    new = ("imagebuilder:CreateWorkflow", "imagebuilder:TagResource")
    yield _Need("New", new, scope.workflow, scope.new)
    yield _Need("Read", _READS, scope.readable)
    make = scope.by_image_builder(scope.workflow)
    yield _Need("Key", ("kms:GenerateDataKey",), scope.keys, make)
    yield _Need("Open", ("kms:Decrypt",), scope.keys, scope.by_image_builder(scope.readable))
    if scope.document:
        yield _Need("Document", ("s3:GetObject",), scope.document)


def _confirm_events(scope: _Scope) -> Iterator[_Need]:
    yield _Need("Records", ("cloudtrail:LookupEvents",))
    yield _Need("Read", ("imagebuilder:GetWorkflow",), scope.readable)
    yield _Need("Open", ("kms:Decrypt",), scope.keys, scope.by_image_builder(scope.readable))
    yield _Need("LastUse", ("kms:GetKeyLastUsage",), scope.keys, scope.key_bound)


def _inventory(scope: _Scope) -> Iterator[_Need]:
    """Read every workflow of the account, to know which are under the key."""
    yield _Need("List", ("imagebuilder:ListWorkflows",))
    yield _Need("Read", _READS, scope.readable)
    yield _Need("Open", ("kms:Decrypt",), scope.keys, scope.by_image_builder(scope.readable))
    yield _Need("KeyState", ("kms:DescribeKey",), scope.keys, scope.key_bound)


def _revoke_access(scope: _Scope) -> Iterator[_Need]:
    yield from _inventory(scope)
    yield from _access(scope, "iam:DeleteRolePolicy")
    # Others may have given the role grants, also on a key that the run made.
    yield _Need("NoGrant", ("kms:RevokeGrant",), scope.keys, scope.key_bound)
    yield _Need("Grant", ("kms:CreateGrant",), scope.keys, _for_the_role(scope))
    if scope.builds:
        yield from _build(scope)


def _for_the_role(scope: _Scope) -> Conditions:
    tag = {} if scope.key_bound is None else scope.key_bound["StringLike"]
    return {"StringLike": {**tag, "kms:GranteePrincipal": [*scope.role, scope.sessions]}}


def _emergency_stop(scope: _Scope) -> Iterator[_Need]:
    yield from _inventory(scope)
    yield _Need("Stop", ("kms:DisableKey", "kms:EnableKey"), scope.keys, scope.key_bound)


def _build(scope: _Scope) -> Iterator[_Need]:
    make = ("imagebuilder:CreateImage", "imagebuilder:TagResource")
    yield _Need("Build", make, scope.images, scope.new)
    images = ("imagebuilder:GetImage", "imagebuilder:ListImageBuildVersions")
    yield _Need("Image", images, scope.all_images)
    if not scope.sandbox:
        ends = ("imagebuilder:ListWorkflowExecutions", "imagebuilder:CancelImageCreation")
        yield _Need("End", ends, scope.images, scope.own)
    yield _Need("Recipe", (_get(scope.recipe),), (scope.recipe,))
    machines = "imagebuilder:GetInfrastructureConfiguration"
    yield _Need("Machines", (machines,), (scope.machines,))
    yield _Need("Read", ("imagebuilder:GetWorkflow",), scope.readable)
    passed = {"StringEquals": {"iam:PassedToService": IMAGE_BUILDER}}
    yield _Need("PassRole", ("iam:PassRole",), scope.role, passed)
    yield _Need("Records", ("cloudtrail:LookupEvents",))


def _get(recipe: str) -> str:
    container = ":container-recipe/" in recipe
    return f"imagebuilder:Get{'Container' if container else 'Image'}Recipe"


def _clean_up(scope: _Scope) -> Iterator[_Need]:
    yield _Need("Builds", ("imagebuilder:ListWorkflowBuildVersions",), scope.readable)
    lists = ("imagebuilder:ListImagePipelines", "imagebuilder:ListImages")
    yield _Need("Users", (*lists, *(("kms:ListAliases",) if scope.makes_key else ())))
    images = ("imagebuilder:ListImageBuildVersions", "imagebuilder:GetImage")
    yield _Need("Images", images, scope.all_images)
    if scope.builds and not scope.sandbox:
        yield _Need("NoImage", ("imagebuilder:DeleteImage",), scope.images, scope.own)
    yield _Need("NoWorkflow", ("imagebuilder:DeleteWorkflow",), scope.workflow, scope.own)
    if scope.makes_key:
        yield from _inventory(scope)
        yield _Need("Records", ("cloudtrail:LookupEvents",))
    role = ["iam:GetRole", "iam:GetRolePolicy", "iam:DeleteRolePolicy"]
    if scope.sandbox:  # a role that the run made stays where others gave it policies
        role += ["iam:ListRolePolicies", "iam:ListAttachedRolePolicies"]
    yield _Need("Role", role, scope.role)
    if scope.sandbox:
        yield _Need("NoRole", ("iam:DeleteRole",), scope.role, scope.own)
    actions = ["kms:DescribeKey", "kms:GetKeyPolicy"]
    if scope.alias:
        yield _Need("NoAlias", ("kms:DeleteAlias",), scope.alias)
        actions.append("kms:DeleteAlias")
    if scope.makes_key:
        actions += ["kms:ScheduleKeyDeletion", "kms:GetKeyLastUsage", "kms:ListGrants"]
        actions += ["kms:PutKeyPolicy"]  # of a key that others use, and so stays
    else:
        actions += ["kms:PutKeyPolicy"]
        if scope.rotates:
            actions += ["kms:GetKeyRotationStatus", "kms:DisableKeyRotation"]
    yield _Need("Key", actions, scope.keys, scope.key_bound)


_READS: Final = ("imagebuilder:ListWorkflowBuildVersions", "imagebuilder:GetWorkflow")

_NEEDS: Final[Mapping[str, Callable[[_Scope], Iterator[_Need]]]] = {
    "00_preflight": _preflight,
    "01_create_key": _create_key,
    "02_grant_access": _grant_access,
    "03_encrypt_workflow": _encrypt_workflow,
    "04_confirm_events": _confirm_events,
    "05_revoke_access": _revoke_access,
    "06_clean_up": _clean_up,
    EMERGENCY: _emergency_stop,
    SCORECARD: _scorecard,
}
