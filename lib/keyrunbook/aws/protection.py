"""Reads what the data-protection scorecard is judged by: all at once, and each read may be refused.

A denied read is a fact that is not known, with the permission that is missing. Nothing is changed.
Documents of workflows and components under a key of yours take kms:Decrypt, as GetWorkflow and
GetComponent do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from iamaccess import MalformedPolicy, Policy

from keyrunbook.aws import fips, tls, who
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.aws.trails import lacks, read_trails
from keyrunbook.errors import CredentialsMissing
from keyrunbook.records import KMS
from keyrunbook.scorecard import resources as of
from keyrunbook.scorecard.facts import (
    Allowed,
    Bucket,
    Endpoint,
    Facts,
    Known,
    NotRead,
    Resource,
    Resources,
    RootUser,
    Session,
    TrailFact,
    Unread,
    User,
)

T = TypeVar("T")
Item = TypeVar("Item")

SERVICES: Final[Mapping[str, str]] = {
    **fips.NAMES,
    "macie2": "Amazon Macie",
    "sso-admin": "IAM Identity Center",
    "ec2": "Amazon EC2",
}
"""The services that the scorecard asks, by the names of their clients; the slowest to load last."""

_PREFIX: Final = {"sso-admin": "sso"}
"""The prefix of a service's actions, where it is another than its client's name."""
_DENIED: Final = {
    *("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "ForbiddenException"),
}
_NOT_SERVED: Final = "NotImplemented"
_NO_MFA: Final = "InvalidClientTokenId"
"""What IAM says to credentials of GetSessionToken without MFA, good as they are elsewhere.

Whoever asks here has been told by STS who he is, so they are good.
Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
"""
_MACIE_IS_OFF: Final = "not enabled"
"""Macie refuses every call where it is off: "Macie is not enabled", under AccessDeniedException.

Source: https://github.com/prowler-cloud/prowler/issues/1279
"""
_NO_BUCKET_ENCRYPTION: Final = "ServerSideEncryptionConfigurationNotFoundError"
_THREADS: Final = 8

_WITH_BUILDS: Final = {
    of.WORKFLOW: (
        *("list_workflows", "workflowVersionList"),
        *("list_workflow_build_versions", "workflowSummaryList", "workflowVersionArn"),
    ),
    of.COMPONENT: (
        *("list_components", "componentVersionList"),
        *("list_component_build_versions", "componentSummaryList", "componentVersionArn"),
    ),
    of.IMAGE: (
        *("list_images", "imageVersionList"),
        *("list_image_build_versions", "imageSummaryList", "imageVersionArn"),
    ),
}
"""Of each kind with builds: the list of its versions and its member; that of a version's builds,
its member, and how it is told the version."""

_LISTS: Final[Mapping[str, tuple[str, str, Callable[[Any, str], Any]]]] = {
    of.IMAGE_RECIPE: (
        "list_image_recipes",
        "imageRecipeSummaryList",
        lambda client, arn: client.get_image_recipe(imageRecipeArn=arn)["imageRecipe"],
    ),
    of.CONTAINER_RECIPE: (
        "list_container_recipes",
        "containerRecipeSummaryList",
        lambda client, arn: client.get_container_recipe(containerRecipeArn=arn)["containerRecipe"],
    ),
    of.INFRASTRUCTURE: (
        "list_infrastructure_configurations",
        "infrastructureConfigurationSummaryList",
        lambda client, arn: client.get_infrastructure_configuration(
            infrastructureConfigurationArn=arn
        )["infrastructureConfiguration"],
    ),
    of.DISTRIBUTION: (
        "list_distribution_configurations",
        "distributionConfigurationSummaryList",
        lambda client, arn: client.get_distribution_configuration(distributionConfigurationArn=arn)[
            "distributionConfiguration"
        ],
    ),
}
"""Of each kind without builds: its list, the list's member, and how one is got by its ARN."""


def read(
    clients: Clients,
    *,
    necessary: Iterable[str],
    fips_wanted: bool,
    measure: tls.Measure = tls.handshake,
) -> Facts:
    """The facts of the clients' account and Region, at this moment.

    `necessary` are the actions that the runbook needs. Raises CredentialsMissing where the
    credentials are no longer good, in the middle.
    """
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="scorecard") as pool:
        reader = _Reader(clients, pool, measure)
        return reader.facts(frozenset(necessary), fips_wanted)


class _Reader:
    """Starts every read, and then gathers them.

    Clients are made here, before a thread uses one: a session is no thing to share.
    """

    def __init__(self, clients: Clients, pool: ThreadPoolExecutor, measure: tls.Measure) -> None:
        self._clients = clients
        self._pool = pool
        self._measure = measure
        self._unread: list[Unread] = []

    def facts(self, necessary: frozenset[str], fips_wanted: bool) -> Facts:
        start, clients = self._pool.submit, self._clients
        identity, iam = clients.identity, clients("iam")
        root = start(known, lambda: _root(iam))
        users = start(
            known, lambda: [one["UserName"] for one in _pages(iam, "list_users", "Users")]
        )
        allowed = start(self._allowed)
        image_builder, kms = clients("imagebuilder"), clients("kms")
        listed = {kind: start(partial(known, partial(_list, image_builder, kind)))
                  for kind in of.IMAGE_BUILDER}  # fmt: skip
        keys = start(known, lambda: [one["KeyId"] for one in _pages(kms, "list_keys", "Keys")])
        aliases = start(known, lambda: list(_pages(kms, "list_aliases", "Aliases")))
        clients("cloudtrail")
        mfa = start(self._mfa)
        others = {name: clients(name) for name in SERVICES}
        trails = start(known, lambda: read_trails(clients))  # it makes those of other Regions
        ebs = start(known, lambda: bool(
            others["ec2"].get_ebs_encryption_by_default()["EbsEncryptionByDefault"]
        ))  # fmt: skip
        ebs_key = start(known, lambda: str(others["ec2"].get_ebs_default_kms_key_id()["KmsKeyId"]))
        macie = start(_macie, others["macie2"])
        center = start(known, lambda: tuple(
            one["InstanceArn"] for one in _pages(others["sso-admin"], "list_instances", "Instances")
        ))  # fmt: skip
        endpoints = self._endpoints()
        found = self._resources(listed, keys, aliases)
        read_of_trails = trails.result()
        return Facts(
            session=Session(identity.arn, clients.temporary, mfa.result()),
            root=root.result(),
            users=self._users(users.result()),
            identity_center=center.result(),
            allowed=allowed.result(),
            necessary=necessary,
            endpoints=endpoints,
            fips_wanted=fips_wanted,
            fips_missing=tuple(fips.missing(clients.region)) if fips_wanted else (),
            trails=read_of_trails if isinstance(read_of_trails, NotRead) else tuple(
                TrailFact(
                    one.name, one.logging, one.all_regions, one.validated, one.key,
                    lacks(one, KMS), None if one.refused is None else NotRead(one.refused),
                )
                for one in read_of_trails
            ),
            ebs_by_default=ebs.result(),
            ebs_key=ebs_key.result(),
            buckets=self._buckets(read_of_trails, found),
            macie=macie.result(),
            resources=Resources(tuple(found), tuple(self._unread)),
            key_managers=self._managers,
        )  # fmt: skip

    # Who -----------------------------------------------------------------------------------------

    def _users(self, names: Known[list[str]]) -> Known[tuple[User, ...]]:
        if isinstance(names, NotRead):
            return names
        iam = self._clients("iam")

        def of_user(name: str) -> User:
            devices = known(lambda: len(iam.list_mfa_devices(UserName=name)["MFADevices"]))
            keys = known(lambda: iam.list_access_keys(UserName=name)["AccessKeyMetadata"])
            if isinstance(keys, NotRead):
                return User(name, devices, keys)
            return User(name, devices, sum(one["Status"] == "Active" for one in keys))

        return tuple(self._pool.map(of_user, names))

    def _allowed(self) -> Known[tuple[Allowed, ...]]:
        """What the operator's own policies allow, pattern by pattern."""
        arn = self._clients.identity.arn
        if arn.endswith(":root"):
            return (Allowed("the root user", "*"),)
        try:
            policies = known(lambda: list(who.own_policies(self._clients)))
        except (LookupError, MalformedPolicy) as error:
            return NotRead(str(error))
        if isinstance(policies, NotRead):
            return policies
        return tuple(one for policy in policies for one in _allows(policy))

    def _mfa(self) -> Known[bool]:
        """What CloudTrail recorded of MFA in a call with these credentials."""
        if not self._clients.temporary:
            return False
        asked = [{"AttributeKey": "AccessKeyId", "AttributeValue": self._clients.access_key_id}]
        look = self._clients("cloudtrail").lookup_events
        events = known(lambda: look(LookupAttributes=asked, MaxResults=1)["Events"])
        if isinstance(events, NotRead):
            return events
        if not events:
            return NotRead("CloudTrail has no record of this session yet: ask again in 15 minutes")
        context = json.loads(events[0]["CloudTrailEvent"])["userIdentity"].get("sessionContext", {})
        told = context.get("attributes", {}).get("mfaAuthenticated")
        if told not in ("true", "false"):
            return NotRead("CloudTrail's record of this session does not say")
        return bool(told == "true")

    # Where ---------------------------------------------------------------------------------------

    def _endpoints(self) -> tuple[Endpoint, ...]:
        """One handshake a URL: on the sandbox all services have the same one.

        A service that only the scorecard asks need not be there, as Macie is not in each Region.
        """
        urls = {name: str(self._clients(name).meta.endpoint_url) for name in SERVICES}
        measured = {
            url: self._pool.submit(self._measure, url, self._clients.authorities)
            for url in dict.fromkeys(urls.values())
            if url.startswith("https://")
        }
        found = {name: measured[url].result() if url in measured else None
                 for name, url in urls.items()}  # fmt: skip
        return tuple(
            Endpoint(SERVICES[name], urls[name], done)
            for name, done in found.items()
            if name in fips.NAMES or not isinstance(done, NotRead)
        )

    def _buckets(self, trails: Known[Any], found: Iterable[Resource]) -> tuple[Bucket, ...]:
        """The buckets that trails and build logs name, each with its default encryption."""
        holds = {} if isinstance(trails, NotRead) else {
            one.bucket: f"log files of {one.name}" for one in trails if one.bucket
        }  # fmt: skip
        holds |= {one.log_bucket: "build logs" for one in found if one.log_bucket is not None}
        if not holds:
            return ()
        s3 = self._clients("s3")

        def of_bucket(place: tuple[str, str]) -> Bucket:
            name, what = place
            try:
                rule = known(lambda: _default_rule(s3, name), _NO_BUCKET_ENCRYPTION)
            except _Absent:
                return Bucket(name, what, "")
            if isinstance(rule, NotRead):
                return Bucket(name, what, rule)
            return Bucket(name, what, rule["SSEAlgorithm"], rule.get("KMSMasterKeyID"))

        return tuple(self._pool.map(of_bucket, holds.items()))

    # What ----------------------------------------------------------------------------------------

    def _resources(
        self, listed: Mapping[str, Future[Known[list[Any]]]], keys: Any, aliases: Any
    ) -> list[Resource]:
        jobs: list[tuple[str, str, Callable[[], Resource]]] = []
        for kind, future in listed.items():
            answer = future.result()
            if isinstance(answer, NotRead):
                self._unread.append(Unread(kind, f"all {kind}s", answer))
                continue
            jobs += [(kind, _name_of(one), partial(self._one, kind, one)) for one in answer]
        found = [*self._each(jobs), *self._keys(keys.result(), aliases.result())]
        return found

    def _one(self, kind: str, item: Any) -> Resource:
        """One resource in full, from an entry of its list."""
        client = self._clients("imagebuilder")
        if kind in (of.PIPELINE, of.IMAGE):
            return of.of_image_builder(kind, item)
        if kind == of.WORKFLOW:
            answer = client.get_workflow(workflowBuildVersionArn=item)["workflow"]
        elif kind == of.COMPONENT:
            answer = client.get_component(componentBuildVersionArn=item)["component"]
        else:
            answer = _LISTS[kind][2](client, item["arn"])
        return of.of_image_builder(kind, answer)

    def _keys(self, ids: Known[list[str]], aliases: Known[list[Any]]) -> list[Resource]:
        """The account's customer managed keys; who manages each is noted by all of its names."""
        self._managers: dict[str, str] = {}
        if isinstance(ids, NotRead):
            self._unread.append(Unread(of.KEY, f"all {of.KEY}s", ids))
            return []
        named: dict[str, list[Mapping[str, str]]] = {}
        if isinstance(aliases, NotRead):
            self._unread.append(Unread(of.KEY, f"all {of.KEY}s' aliases", aliases))
        else:
            for one in aliases:
                named.setdefault(one.get("TargetKeyId", ""), []).append(one)
        kms = self._clients("kms")

        def of_key(key_id: str) -> Resource:
            about = kms.describe_key(KeyId=key_id)["KeyMetadata"]
            names = named.get(key_id, [])
            ways = [key_id, about["Arn"], *(one["AliasArn"] for one in names)]
            self._managers |= dict.fromkeys(ways, about["KeyManager"])
            tags: dict[str, str] = {}
            if about["KeyManager"] == "CUSTOMER":
                pages = _pages(kms, "list_resource_tags", "Tags", KeyId=key_id)
                tags = {one["TagKey"]: one["TagValue"] for one in pages}
            return of.of_key(about, tags, [one["AliasName"] for one in names])

        return self._each([(of.KEY, one, partial(of_key, one)) for one in ids])

    def _each(self, jobs: Iterable[tuple[str, str, Callable[[], Resource]]]) -> list[Resource]:
        """What each job gives; one that is refused is noted as not read."""
        jobs = list(jobs)
        answers = self._pool.map(lambda job: known(job[2], *_GONE, absent=None), jobs)
        found = []
        for (kind, name, _), answer in zip(jobs, answers, strict=True):
            if isinstance(answer, NotRead):
                self._unread.append(Unread(kind, f"{kind} {name}", answer))
            elif answer is not None:
                found.append(answer)
        return found


_GONE: Final = ("ResourceNotFoundException", "NotFoundException")
"""Deleted since it was listed."""


class _Absent(Exception):
    """AWS answered that there is none."""


_RAISE: Final = object()


def known(call: Callable[[], T], *absent_codes: str, absent: Any = _RAISE) -> Known[T]:
    """What `call` answers, or why it is not known.

    An error code of `absent_codes` gives `absent`, or raises _Absent where that is not given.
    Raises CredentialsMissing where the credentials are no longer good.
    """
    try:
        return call()
    except ClientError as error:
        code = code_of(error)
        if code in absent_codes:
            if absent is _RAISE:
                raise _Absent from error
            return absent  # type: ignore[no-any-return]
        return _why(error)
    except BotoCoreError as error:
        told = explain(error)
        if isinstance(told, CredentialsMissing):
            raise told from error
        return NotRead(told.what)


def _why(error: ClientError) -> NotRead:
    code, text = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    if code == _NOT_SERVED:
        return NotRead("this endpoint is not AWS's, and does not serve that")
    if code == _NO_MFA:
        return NotRead(f"{code}: {text} IAM takes a user's session only where it has MFA.")
    told = explain(error)
    if isinstance(told, CredentialsMissing):
        raise told from error
    return NotRead(f"{code}: {text}", _permission(error) if code in _DENIED else None)


def _permission(error: ClientError) -> str:
    """The permission that an access denied is about, by its text, else by the operation."""
    text = str(error.response.get("Error", {}).get("Message", ""))
    words = text.replace("(", " ").split()
    named = (word.strip(".,") for word in words if word.split(":")[0] in _ACTIONS and ":" in word)
    return next(named, error.operation_name)


_ACTIONS: Final = {*SERVICES, *_PREFIX.values(), "s3"} - {"sso-admin"}


def _pages(client: Any, operation: str, member: str, **given: Any) -> Iterator[Any]:
    for page in client.get_paginator(operation).paginate(**given):
        yield from page[member]


def _default_rule(s3: Any, bucket: str) -> Any:
    answer = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    return answer["Rules"][0]["ApplyServerSideEncryptionByDefault"]


def _root(iam: Any) -> RootUser:
    summary = iam.get_account_summary()["SummaryMap"]
    return RootUser(bool(summary["AccountMFAEnabled"]), bool(summary["AccountAccessKeysPresent"]))


def _macie(client: Any) -> Known[str]:
    answer: Known[str] = known(lambda: str(client.get_macie_session()["status"]))
    if isinstance(answer, NotRead) and _MACIE_IS_OFF in answer.why:
        return "off: Macie is not enabled"
    return answer


def _allows(policy: Policy) -> Iterator[Allowed]:
    """The actions of a policy's Allow statements, as they are written."""
    written = policy.document.get("Statement", [])
    for one in [written] if isinstance(written, Mapping) else written:
        if one.get("Effect") != "Allow":
            continue
        actions = one.get("Action", [])
        for action in [actions] if isinstance(actions, str) else actions:
            yield Allowed(policy.name, action)
        if "NotAction" in one:
            yield Allowed(policy.name, "NotAction")


def _list(client: Any, kind: str) -> list[Any]:
    """The entries of a kind: ARNs of builds, or what its list shows."""
    if kind in _WITH_BUILDS:
        versions, member, builds, of_builds, by = _WITH_BUILDS[kind]
        found = [
            one
            for version in list(_pages(client, versions, member, owner="Self"))
            for one in _pages(client, builds, of_builds, **{by: version["arn"]})
        ]
        return found if kind == of.IMAGE else [one["arn"] for one in found]
    if kind == of.PIPELINE:
        return list(_pages(client, "list_image_pipelines", "imagePipelineList"))
    operation, member, _ = _LISTS[kind]
    owner = {"owner": "Self"} if kind in (of.IMAGE_RECIPE, of.CONTAINER_RECIPE) else {}
    return list(_pages(client, operation, member, **owner))


def _name_of(item: Any) -> str:
    return item if isinstance(item, str) else str(item["arn"])
