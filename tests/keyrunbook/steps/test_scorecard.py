"""The scorecard on a real sandbox: a new account, one that was set up well, one that was not."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import boto3
import pytest
import trustme
from awssandbox.clock import real_now
from awssandbox.iam import mfa
from awssandbox.server import _Tls
from cheroot import wsgi
from keyrunbook.aws import protection, tls
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.aws.reading import reads
from keyrunbook.cli import _main
from keyrunbook.parameters import Parameters
from keyrunbook.permissions import SCORECARD, Where, operator_policy
from keyrunbook.sandboxes import HANDED_OVER, TLS, Handoff, Sandbox, command, start_private
from keyrunbook.scorecard import Scorecard
from keyrunbook.scorecard.facts import Handshake, NotRead
from keyrunbook.session import open_step
from keyrunbook.steps import preflight

pytestmark = pytest.mark.e2e

COMPONENT = """\
schemaVersion: 1.0
phases:
  - name: build
    steps:
      - {name: get, action: ExecuteBash, inputs: {commands: [curl URL]}}
"""
WORKFLOW = """\
schemaVersion: 1.0
steps:
  - {name: Launch, action: LaunchInstance, inputs: {waitFor: ssmAgent}}
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    with start_private(TLS) as started:
        started.ready()
        yield started


@pytest.fixture
def account(own: Sandbox) -> Clients:
    """Clients of the administrator of a fresh account."""
    given = command(own.ready(), "new-account")
    whole = {**{name: getattr(own.ready(), name) for name in Handoff.__dataclass_fields__}, **given}
    return sandbox_clients(Handoff(**{n: whole[n] for n in Handoff.__dataclass_fields__}))


def scorecard(clients: Clients, **given: Any) -> dict[str, tuple[str, str]]:
    return outcomes(preflight.scorecard_of(clients, Parameters.load(given)))


def outcomes(card: Scorecard) -> dict[str, tuple[str, str]]:
    return {row.name: (row.finding.status, row.finding.evidence) for row in card.rows}


def statuses(found: dict[str, tuple[str, str]], *names: str) -> set[str]:
    return {found[name][0] for name in names}


def test_a_new_account(own: Sandbox) -> None:
    clients = sandbox_clients(own.ready())
    found = scorecard(clients)
    assert {status for status, _ in found.values()} == {
        "pass", "fail", "not checked", "not checkable"
    }  # fmt: skip
    assert found["tls.required"] == found["tls.recommended"]
    assert found["tls.required"][1].startswith("negotiated: TLSv1.3 with EC2 Image Builder")
    failing = ("mfa.root", "mfa.users", "mfa.session", "trail.logging", "encryption.ebs")
    assert statuses(found, *failing, "services.macie", "users.permissions") == {"fail"}
    why = [evidence for status, evidence in found.values() if status == "not checked"]
    assert not [one for one in why if "does not serve" in one or "missing" in one]


def test_an_account_that_was_set_up_well(account: Clients) -> None:
    """All that the sandbox lets be set up: root's MFA alone is the console's."""
    key = account("kms").create_key(Description="of the images")["KeyMetadata"]["Arn"]
    account("ec2").enable_ebs_encryption_by_default()
    account("macie2").enable_macie()
    account("sso-admin").create_instance(Name="people")
    bucket = f"trail-{account.identity.account}"
    where = {"LocationConstraint": account.region}
    account("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    trail(account, bucket)
    resources(account, key, bucket)
    found = scorecard(account)
    for name in (
        *("encryption.ebs", "encryption.s3", "services.macie", "users.individual"),
        *("trail.logging", "trail.regions", "trail.validation", "trail.kms-events"),
        *("text.image-builder", "text.kms", "text.urls"),
        *("at-rest.inventory", "at-rest.components", "at-rest.workflows", "at-rest.volumes"),
        *("logs.kept", "users.root-keys", "users.not-root", "tls.https-only"),
    ):
        assert found[name][0] == "pass", (name, found[name])
    assert f"{bucket} (build logs): AES256" in found["encryption.s3"][1]
    assert "customer managed key" in found["at-rest.inventory"][1]
    card = preflight.scorecard_of(account, Parameters())
    table = card.encrypted_with().text()
    for kind in ("workflow", "component", "image recipe", "container recipe",
                 "infrastructure configuration", "distribution configuration"):  # fmt: skip
        assert f"kind: {kind}" in table


def trail(account: Clients, bucket: str) -> None:
    who = account.identity
    arn = f"arn:aws:cloudtrail:{account.region}:{who.account}:trail/main"
    service = {"Service": "cloudtrail.amazonaws.com"}
    source = {"StringEquals": {"aws:SourceArn": arn}}
    statements = [
        {"Effect": "Allow", "Principal": service, "Action": "s3:GetBucketAcl",
         "Resource": f"arn:aws:s3:::{bucket}", "Condition": source},
        {"Effect": "Allow", "Principal": service, "Action": "s3:PutObject",
         "Resource": f"arn:aws:s3:::{bucket}/AWSLogs/{who.account}/*", "Condition": {
             "StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control", "aws:SourceArn": arn}}},
    ]  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    account("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    account("cloudtrail").create_trail(
        Name="main", S3BucketName=bucket, IsMultiRegionTrail=True, EnableLogFileValidation=True
    )
    account("cloudtrail").start_logging(Name="main")


def resources(account: Clients, key: str | None, bucket: str | None, **more: Any) -> None:
    """One of each kind; under a key, and with a bucket for logs, where they are given."""
    builder, iam = account("imagebuilder"), account("iam")
    if bucket is not None:
        iam.create_instance_profile(InstanceProfileName="builders")
    under = {} if key is None else {"kmsKeyId": key}
    url = more.pop("url", "https://example.com/x")
    tags = more.pop("tags", {"team": "images"})
    common = {"semanticVersion": "1.0.0", "tags": tags}
    builder.create_workflow(name="flow", type="BUILD", data=WORKFLOW, **common, **under)
    data = COMPONENT.replace("URL", url)
    builder.create_component(name="part", platform="Linux", data=data, **common, **under)
    ebs = {"encrypted": True, **under} if key else {}
    disks = [{"deviceName": "/dev/xvda", "ebs": ebs}]
    builder.create_image_recipe(
        name="recipe", parentImage="ami-1", blockDeviceMappings=disks, **common
    )
    builder.create_container_recipe(
        name="box", containerType="DOCKER", parentImage="x", dockerfileTemplateData="FROM x",
        targetRepository={"service": "ECR", "repositoryName": "r"}, **common, **under,
    )  # fmt: skip
    logging = {} if bucket is None else {"logging": {"s3Logs": {"s3BucketName": bucket}}}
    if bucket is not None:
        builder.create_infrastructure_configuration(
            name="machines", instanceProfileName="builders", tags=tags, **logging
        )
    image = {"region": account.region, "amiDistributionConfiguration": {"name": "ami", **under}}
    builder.create_distribution_configuration(name="world", distributions=[image], tags=tags)


def test_an_account_with_secrets_in_its_texts(account: Clients) -> None:
    tags = {"contact": "ann@example.com"}
    resources(account, None, None, url="https://ann:hunter2@example.com/x", tags=tags)
    account("kms").create_key(Description="password=hunter2")
    found = scorecard(account)
    assert statuses(found, "text.image-builder", "text.kms", "text.urls", "at-rest.components",
                    "at-rest.workflows", "at-rest.volumes") == {"fail"}  # fmt: skip
    assert "component/part/1.0.0/1: document, line 5" in found["text.urls"][1]
    whole = json.dumps(found)
    assert "hunter2" not in whole
    assert "ann@example.com" not in whole


def test_who_has_the_scorecard_s_permissions_and_who_has_none(account: Clients) -> None:
    """`runbook permissions --scorecard` is enough; without, each finding names what is missing."""
    key = account("kms").create_key()["KeyMetadata"]["Arn"]
    resources(account, key, None)
    who = account.identity
    where = Where("aws", account.region, who.account)
    policy = operator_policy((SCORECARD,), Parameters(), where)
    reader = as_user(account, "reader", policy)
    found = scorecard(reader)
    assert not [one for one in found.values() if "missing" in one[1] or "AccessDenied" in one[1]]
    assert found["users.permissions"][0] == "pass"
    assert "customer managed key" in found["at-rest.inventory"][1]
    nothing = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "kms:ListRetirableGrants", "Resource": "*"}]}  # fmt: skip
    found = scorecard(as_user(account, "nobody", nothing))
    for name, permission in {
        "mfa.root": "iam:GetAccountSummary",
        "mfa.users": "iam:ListUsers",
        "users.permissions": "iam:ListUserPolicies",
        "trail.logging": "cloudtrail:DescribeTrails",
        "encryption.ebs": "ec2:GetEbsEncryptionByDefault",
        "services.macie": "macie2:GetMacieSession",
        "text.image-builder": "imagebuilder:ListComponents",
        "text.kms": "kms:ListKeys",
    }.items():
        status, evidence = found[name]
        assert (status, permission in evidence) == ("not checked", True), (name, evidence)
    assert found["tls.required"][0] == "pass"


def as_user(account: Clients, name: str, policy: dict[str, Any]) -> Clients:
    iam = account("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return like(account, key["AccessKeyId"], key["SecretAccessKey"])


def like(account: Clients, key_id: str, secret: str, token: str | None = None) -> Clients:
    """The same place, with other credentials."""
    session = boto3.Session(key_id, secret, token, region_name=account.region)
    options = account._options
    return Clients(
        session, account.region, config=account._config, sandbox=account.sandbox, **options
    )


def test_mfa_of_users_and_of_the_session(account: Clients) -> None:
    """Without MFA a user's session is none to IAM: so what is asked of it is not checked."""
    iam = account("iam")
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]
    seed = base64.b32decode(device["Base32StringSeed"])
    step = int(real_now().timestamp()) // mfa.STEP_S
    codes = [mfa.code(seed, step - 1), mfa.code(seed, step)]
    iam.enable_mfa_device(
        UserName="administrator", SerialNumber=device["SerialNumber"],
        AuthenticationCode1=codes[0], AuthenticationCode2=codes[1],
    )  # fmt: skip
    assert scorecard(account)["mfa.users"][0] == "pass"
    asked = {"SerialNumber": device["SerialNumber"], "TokenCode": mfa.code(seed, step + 1)}
    for given, outcome in (({}, "fail"), (asked, "pass")):
        made = account("sts").get_session_token(**given)["Credentials"]
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        session = like(account, *(made[name] for name in names))
        session("kms").list_keys()
        found = scorecard(session)
        status, evidence = found["mfa.session"]
        assert (status, "mfaAuthenticated" in evidence) == (outcome, True)
        assert found["mfa.root"][0] == ("fail" if given else "not checked")


def test_the_notebook_s_scorecard_is_in_the_ledger_and_only_reads(
    own: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HANDED_OVER, str(own.path))
    given = {"outputs_dir": str(tmp_path), "read_only": True}
    run = open_step(preflight.STEP, Parameters.load(given))
    sent: list[tuple[str, str]] = []
    for name in ("kms", "iam", "imagebuilder", "cloudtrail", "ec2", "macie2", "sso-admin", "sts"):
        run.clients(name).meta.events.register(
            "before-call",
            lambda model, **_: sent.append((model.service_model.service_name, model.name)),
        )
    card = preflight.scorecard(run)
    (kept,) = run.ledger.of_kind("scorecard", preflight.STEP)
    assert [one["name"] for one in kept["findings"]] == [row.name for row in card.rows]
    assert len(sent) > 15
    assert all(reads(service, operation) for service, operation in sent)
    assert preflight.STEP not in run.ledger.done()
    assert preflight.verify(run).failed() == []


def test_the_command(
    own: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(HANDED_OVER, str(own.path))
    file = tmp_path / "preflight.xml"
    assert _main(["preflight", "--json", "--junit", str(file)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["not_aws"] == "embedded sandbox, not AWS"
    failures = int(ElementTree.parse(file).getroot().attrib["failures"])
    errors = [one for one in told["findings"] if one["level"] == "error"]
    assert failures == sum(one["status"] == "fail" for one in errors) > 0
    assert _main(["preflight"]) == 1
    shown = capsys.readouterr().out
    assert "mfa.root (error)" in shown
    assert "What each Image Builder resource is encrypted with" in shown
    assert _main(["preflight", "--use-fips"]) == 2
    assert _main(["preflight", "--junit", str(tmp_path / "no" / "x.xml")]) == 5


# TLS, measured -----------------------------------------------------------------------------------


class _Server:
    """An HTTPS server on this machine with one version of TLS."""

    def __init__(self, folder: Path, version: ssl.TLSVersion) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self.authorities = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.authorities))
        self._server = wsgi.Server(("127.0.0.1", 0), lambda *_: [b""])
        self._server.ssl_adapter = _Tls(context)
        self._server.prepare()
        self._thread = threading.Thread(target=self._server.serve, daemon=True)
        self._thread.start()
        self.url = f"https://127.0.0.1:{self._server.bind_addr[1]}"

    def stop(self) -> None:
        self._server.stop()
        self._thread.join(5)


@pytest.mark.parametrize(
    ("version", "named"),
    [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
def test_the_version_is_what_the_endpoint_agrees_on(
    tmp_path: Path, version: ssl.TLSVersion, named: str
) -> None:
    server = _Server(tmp_path, version)
    try:
        found = tls.handshake(server.url, str(server.authorities))
        assert isinstance(found, Handshake)
        assert (found.version, found.cipher != "") == (named, True)
        stranger = tls.handshake(server.url, None)
        assert isinstance(stranger, NotRead)
        assert "CERTIFICATE_VERIFY_FAILED" in stranger.why
    finally:
        server.stop()
    gone = tls.handshake(server.url, str(server.authorities), limit_s=1)
    assert isinstance(gone, NotRead)
    assert "cannot be reached directly" in gone.why


def test_an_endpoint_without_tls(own: Sandbox) -> None:
    with start_private() as plain:
        found = scorecard(sandbox_clients(plain.ready()))
    assert statuses(found, "tls.required", "tls.recommended", "tls.https-only") == {"fail"}
    assert "no TLS at all: http://127.0.0.1" in found["tls.required"][1]


def test_a_service_that_is_not_there_leaves_the_others_measured(account: Clients) -> None:
    """Macie has no endpoint in some Regions: its finding says so, and TLS is judged without it."""

    def measured(url: str, authorities: str | None) -> Handshake | NotRead:
        if "macie" in url:
            return NotRead("no such host")
        return tls.handshake(url, authorities)

    account("macie2").meta._endpoint_url = "https://macie2.nowhere.invalid"
    facts = protection.read(account, necessary=(), fips_wanted=False, measure=measured)
    assert "Amazon Macie" not in [one.service for one in facts.endpoints]
    assert all(isinstance(one.handshake, Handshake) for one in facts.endpoints)
