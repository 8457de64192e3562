"""The clients of a run: what they send again, who they say they are, where they go."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectionClosedError
from botocore.loaders import JSONFileLoader
from keyrunbook.aws import fips
from keyrunbook.aws.clients import (
    MAX_ATTEMPTS,
    Clients,
    aws_clients,
    aws_session,
    sandbox_clients,
)
from keyrunbook.errors import ParameterError
from keyrunbook.sandboxes import start_private

SERVICES = ("kms", "imagebuilder", "cloudtrail", "iam", "sts")


def retries(client: object) -> tuple[str, int]:
    found = client.meta.config.retries  # type: ignore[attr-defined]
    return found["mode"], found["total_max_attempts"]


@pytest.fixture
def on_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for AWS that no test sends anything with."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")


def hosts(clients: Clients) -> dict[str, str]:
    return {
        one: clients(one).meta.endpoint_url.removeprefix("https://") for one in sorted(SERVICES)
    }


# Sending again


def test_the_sdk_s_models_are_read_once_for_all_sessions(
    on_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read them takes most of the time that a new client takes."""
    aws_clients(None, "us-west-2")("kms")
    read: list[str] = []
    monkeypatch.setattr(JSONFileLoader, "load_file", lambda _, path: read.append(path))
    first, second = (aws_clients(None, "us-west-2") for _ in range(2))
    assert first("kms") is not second("kms")
    assert read == []
    models = first._session._session.get_component("data_loader")
    assert len(set(models.search_paths)) == len(models.search_paths)


def test_on_aws_the_retries_adapt(on_aws: None) -> None:
    clients = aws_clients(None, "us-west-2")
    assert retries(clients("kms")) == ("adaptive", MAX_ATTEMPTS)
    assert retries(clients.once("kms")) == ("standard", 1)
    assert clients("kms") is clients("kms") is not clients.once("kms")


@pytest.mark.e2e
def test_a_call_sent_once_makes_one_key_where_the_sdk_would_make_two(tmp_path: Path) -> None:
    """The connection is reset after KMS has made the key."""
    rule = {"service": "kms", "operation": "CreateKey", "fault": "reset_after", "times": 2}
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([rule]))
    with start_private("--faults", str(faults)) as sandbox:
        clients = sandbox_clients(sandbox.ready())
        assert retries(clients("kms")) == ("standard", MAX_ATTEMPTS)
        with pytest.raises(ConnectionClosedError):
            clients.once("kms").create_key()
        assert len(clients("kms").list_keys()["Keys"]) == 1
        clients("kms").create_key()
        assert len(clients("kms").list_keys()["Keys"]) == 3


# Who they say they are


@pytest.mark.e2e
def test_cloudtrail_s_record_names_the_project_and_its_version(clients: Clients) -> None:
    clients.once("imagebuilder").list_workflows(maxResults=1)
    found = clients("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "ListWorkflows"}]
    )
    agents = {json.loads(one["CloudTrailEvent"])["userAgent"] for one in found["Events"]}
    assert agents
    assert all(agent.endswith(f" keyrunbook/{version('keyrunbook')}") for agent in agents)


# Where they go


REGIONS = [
    ("us-west-2", "aws", "kms.us-west-2.amazonaws.com", "sts.us-west-2.amazonaws.com"),
    ("us-east-1", "aws", "kms.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com"),
    ("cn-north-1", "aws-cn", "kms.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn"),
    (
        "us-gov-west-1",
        "aws-us-gov",
        "kms.us-gov-west-1.amazonaws.com",
        "sts.us-gov-west-1.amazonaws.com",
    ),
]


@pytest.mark.parametrize(("region", "partition", "kms", "sts"), REGIONS)
def test_each_partition_has_its_own_endpoints_and_sts_is_the_region_s(
    on_aws: None,
    monkeypatch: pytest.MonkeyPatch,
    region: str,
    partition: str,
    kms: str,
    sts: str,
) -> None:
    """STS is the Region's also where the configuration asks for the old global endpoint."""
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    clients = aws_clients(None, region)
    assert hosts(clients)["kms"] == kms
    assert hosts(clients)["sts"] == sts
    assert clients("kms").meta.partition == partition
    assert clients.is_aws


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4566", "https://kms.example.com", "https://amazonaws.com.example.com"]
)
def test_an_endpoint_variable_that_names_another_host_is_seen(
    on_aws: None, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", url)
    assert not aws_clients(None, "us-west-2").is_aws


def test_the_endpoint_of_one_service_may_be_somebody_else_s(
    on_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 is asked only where a workflow document is there, so it does not count for the run."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    clients = aws_clients(None, "us-west-2")
    assert clients.is_aws
    assert clients.foreign("s3") == "http://127.0.0.1:9000"
    assert clients.foreign("kms") is None


# FIPS


@pytest.mark.parametrize(
    ("region", "kms", "imagebuilder"),
    [
        (
            "us-west-2",
            "kms-fips.us-west-2.amazonaws.com",
            "imagebuilder-fips.us-west-2.amazonaws.com",
        ),
        (
            "us-gov-west-1",
            "kms-fips.us-gov-west-1.amazonaws.com",
            "imagebuilder.us-gov-west-1.amazonaws.com",
        ),
    ],
)
def test_fips_endpoints_where_they_are(
    on_aws: None, region: str, kms: str, imagebuilder: str
) -> None:
    clients = aws_clients(None, region, use_fips=True)
    assert hosts(clients)["kms"] == kms
    client = clients("imagebuilder")
    sent = []

    def catch(request: AWSPreparedRequest, **_: object) -> None:
        sent.append(request.url)
        raise NotSent  # to the network

    client.meta.events.register("before-send", catch)
    with pytest.raises(NotSent):
        client.list_workflows()
    assert sent == [f"https://{imagebuilder}/ListWorkflows"]
    assert clients.is_aws


class NotSent(Exception):
    """Raised in place of sending."""


@pytest.mark.parametrize(
    ("region", "without", "not_without"),
    [
        (
            "eu-central-1",
            ["EC2 Image Builder", "AWS STS", "AWS CloudTrail"],
            ["AWS KMS", "AWS IAM"],
        ),
        ("ca-central-1", ["AWS STS", "AWS CloudTrail"], ["EC2 Image Builder", "AWS KMS"]),
        ("cn-north-1", list(fips.NAMES.values()), []),
    ],
)
@pytest.mark.parametrize("by", ["parameter", "environment"])
def test_fips_where_there_is_none_is_refused_with_the_regions(
    monkeypatch: pytest.MonkeyPatch,
    region: str,
    without: list[str],
    not_without: list[str],
    by: str,
) -> None:
    """Asked for by the parameter or by the AWS SDK's configuration; no credentials are needed."""
    if by == "environment":
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    with pytest.raises(ParameterError, match=f"in {region} there is no FIPS endpoint") as caught:
        aws_session(None, region, True if by == "parameter" else None)
    assert all(name in caught.value.what for name in without)
    assert not any(name in caught.value.what for name in not_without)
    assert (
        "have one in us-east-1, us-east-2, us-gov-east-1, us-gov-west-1, us-west-1, us-west-2; "
        "EC2 Image Builder itself in ca-central-1, ca-west-1, us-east-1"
    ) in caught.value.fix


def test_s3_has_fips_endpoints_wherever_all_of_the_others_have() -> None:
    """It is asked where a workflow document is there, so nothing more need be refused for it."""
    table = botocore.session.Session().get_data("endpoints")
    everywhere = frozenset.intersection(*fips.regions().values())
    assert everywhere <= fips._by_table(table, "s3")


def test_the_parameter_wins_over_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    _, with_fips = aws_session(None, "eu-central-1", use_fips=False)
    assert with_fips is False
    _, with_fips = aws_session(None, "us-west-2")
    assert with_fips is True


def test_fips_and_endpoints_that_are_not_aws_s(
    on_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    with pytest.raises(ParameterError, match="is not AWS's"):
        aws_clients(None, "us-west-2", use_fips=True)


def test_the_sdk_s_own_choice_of_a_fips_host_proves_nothing(on_aws: None) -> None:
    """Why there is a table: the SDK makes up a host where Image Builder has none."""
    import boto3
    from botocore.config import Config

    config = Config(use_fips_endpoint=True)
    client = boto3.client("imagebuilder", region_name="eu-central-1", config=config)
    assert client.meta.endpoint_url == "https://imagebuilder-fips.eu-central-1.amazonaws.com"
    assert "EC2 Image Builder" in fips.missing("eu-central-1")
