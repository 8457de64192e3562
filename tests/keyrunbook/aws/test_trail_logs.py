"""A trail's log files in S3: the same verdict as from look-up, and what a trail does not keep."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from keyrunbook import sandboxes
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.aws.lookup import LookupSource, limiter_for
from keyrunbook.aws.trail_logs import (
    Place,
    TrailLogs,
    lack_of,
    place_of_trail,
    place_of_url,
    unknown_of,
)
from keyrunbook.aws.trails import Trail
from keyrunbook.errors import AwsRefused, ParameterError
from keyrunbook.logs import Integrity, Wanted, integrity, read_keys, search
from keyrunbook.parameters import Parameters, workflow_document
from keyrunbook.proof import Claim, Need, Outcome, Read, prove, spans_for
from keyrunbook.sandboxes import Sandbox, start_private


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://trails", "trails", ""),
        ("s3://trails/", "trails", ""),
        ("s3://trails/AWSLogs", "trails", ""),
        ("s3://trails/AWSLogs/111122223333/CloudTrail", "trails", ""),
        ("s3://my.trails/a/b", "my.trails", "a/b"),
        ("s3://my.trails/a/b/AWSLogs/", "my.trails", "a/b"),
        ("s3://trails/noAWSLogs", "trails", "noAWSLogs"),
    ],
)
def test_a_url_names_the_bucket_and_the_prefix(url: str, bucket: str, prefix: str) -> None:
    assert place_of_url(url) == Place(bucket, prefix)


@pytest.mark.parametrize("url", ["trails", "s3://", "s3:///x", "https://trails", "s3://UPPER"])
def test_another_form_is_refused_in_words(url: str) -> None:
    with pytest.raises(ParameterError, match="not of the form s3://bucket"):
        place_of_url(url)


EVERY = {"ReadWriteType": "All", "IncludeManagementEvents": True}


@pytest.mark.parametrize(
    ("trail", "lack", "unknown"),
    [
        (Trail("main", True, [EVERY]), "", ""),
        (Trail("main", False, [EVERY]), "", ""),  # stopped: what it delivered is there
        (Trail("main", True, [{**EVERY, "ReadWriteType": "WriteOnly"}]), "KMS's reading", ""),
        (
            Trail(
                "main", True, [{**EVERY, "ExcludeManagementEventSources": ["kms.amazonaws.com"]}]
            ),
            "Trail main does not select KMS's reading management events",
            "",
        ),
        (Trail("main", refused="cloudtrail:GetTrailStatus was refused"), "", "was refused."),
        (None, "", "Which events the trail selects is not known"),
    ],
)
def test_what_a_trail_lacks_is_told_from_what_is_not_known_of_it(
    trail: Trail | None, lack: str, unknown: str
) -> None:
    for said, told in ((lack, lack_of(trail)), (unknown, unknown_of(trail))):
        assert said in told
        assert bool(said) is bool(told)


# On a sandbox of its own, since trails are the account's, and its clock is moved


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    with start_private("--clock", "2026-03-02T09:00:00Z") as started:
        started.ready()
        yield started


class World:
    """An account with a trail, a key, and an encrypted workflow that was read once."""

    def __init__(self, own: Sandbox) -> None:
        self.own = own
        self.aws: Clients = sandbox_clients(own.ready())
        make_trail(self.aws, "main")
        self.aws("cloudtrail").start_logging(Name="main")
        self.advance(minutes=2)
        self.created = self.aws.now()
        self.key = str(self.aws("kms").create_key()["KeyMetadata"]["Arn"])
        builder = self.aws("imagebuilder")
        self.build = builder.create_workflow(
            name="proof",
            semanticVersion="1.0.0",
            type="BUILD",
            data=workflow_document(Parameters()),
            kmsKeyId=self.key,
        )["workflowBuildVersionArn"]
        self.advance(minutes=1)
        self.since = self.aws.now()
        self.workflow = builder.get_workflow(workflowBuildVersionArn=self.build)["workflow"]
        self.until = self.aws.now()
        self.end = self.until + timedelta(seconds=30)  # two clocks may differ
        self.advance(hours=3)

    def advance(self, **by: float) -> None:
        sandboxes.command(self.own.ready(), "advance", seconds=timedelta(**by).total_seconds())
        self.aws("kms").list_keys()  # its Date tells the service's new time

    def claim(self, *, read: bool = False) -> Claim:
        reads = (Read(self.since, self.until, self.aws.identity.arn),) if read else ()
        return Claim(
            workflow_build_arn=self.build,
            key_arn=self.key,
            created=datetime.fromisoformat(self.workflow["dateCreated"]),
            account=self.aws.identity.account,
            region=self.aws.region,
            kms_key_id=self.workflow["kmsKeyId"],
            prover_reads=reads,
        )

    def source(self, place: Place) -> TrailLogs:
        return TrailLogs(self.aws, place, self.aws.identity.account, self.aws.region)

    def judged(self, place: Place) -> tuple[Any, Any]:
        found = self.source(place).search(self.since - timedelta(minutes=2), self.end)
        return prove(found.records, self.claim(), found.searched), found


@pytest.fixture(scope="module")
def world(own: Sandbox) -> World:
    return World(own)


def make_trail(aws: Clients, name: str) -> None:
    allow = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
    bucket = f"arn:aws:s3:::{name}"
    statements = [
        {**allow, "Action": "s3:GetBucketAcl", "Resource": bucket},
        {**allow, "Action": "s3:PutObject", "Resource": f"{bucket}/AWSLogs/*"},
    ]
    where = {"LocationConstraint": aws.region}
    aws("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws("s3").put_bucket_policy(Bucket=name, Policy=policy)
    aws("cloudtrail").create_trail(Name=name, S3BucketName=name, EnableLogFileValidation=True)


@pytest.mark.e2e
def test_a_trail_s_files_prove_what_was_done_and_are_as_delivered(world: World) -> None:
    place = place_of_trail(world.aws)
    assert (place.bucket, place.prefix) == ("main", "")
    verdict, found = world.judged(place)
    assert verdict.outcome is Outcome.PROVED, verdict
    assert found.searched.complete
    assert found.searched.source.endswith("at s3://main")
    source = world.source(place)
    since, until = world.since - timedelta(minutes=2), world.end
    hashed = source.search(since, until, hashed=True)
    checked = source.integrity(hashed, since, until)
    assert (checked.integrity, checked.altered, checked.unchecked) == (Integrity.PROVEN, (), ())
    assert set(hashed.places(verdict.events)) <= set(checked.as_delivered)


@pytest.mark.e2e
def test_look_up_the_bucket_and_a_copy_of_it_say_the_same(world: World, tmp_path: Path) -> None:
    """One run, three sources: one verdict, on the same records."""
    aws, asked = world.aws, world.claim(read=True)
    limiter = limiter_for(asked.account, asked.region, directory=tmp_path / "limiter")
    lookup = LookupSource(aws("cloudtrail"), asked.account, asked.region, limiter, clock=aws.now)
    looked_up = lookup.search(spans_for(asked))
    wanted = Wanted.by(asked)
    assert wanted.since is not None
    assert wanted.until is not None
    in_s3 = world.source(place_of_trail(aws)).search(wanted.since, wanted.until)
    copy_of_bucket(aws, "main", tmp_path / "copy")
    copied = search([tmp_path / "copy"], wanted, hashed=True)
    verdicts = [prove(found.records, asked, found.searched) for found in (looked_up, in_s3, copied)]
    assert [verdict.outcome for verdict in verdicts] == [Outcome.PROVED] * 3
    assert len({verdict.events for verdict in verdicts}) == 1
    assert in_s3.records == copied.records
    assert {record.event_id for record in looked_up.records} >= set(verdicts[0].events)

    answer = aws("cloudtrail").list_public_keys(StartTime=world.created, EndTime=aws.now())
    listed = [
        {"Value": base64.b64encode(one["Value"]).decode(), "Fingerprint": one["Fingerprint"]}
        for one in answer["PublicKeyList"]
    ]
    (tmp_path / "keys.json").write_text(json.dumps({"PublicKeyList": listed}))
    checked = integrity(
        copied, read_keys(tmp_path / "keys.json"), until=wanted.until + timedelta(minutes=15)
    )
    assert (checked.integrity, checked.altered) == (Integrity.PROVEN, ())
    assert set(copied.places(verdicts[0].events)) <= set(checked.as_delivered)


def copy_of_bucket(aws: Clients, bucket: str, folder: Path) -> None:
    """What ``aws s3 sync`` leaves, and each digest's metadata as head-object answers it."""
    for one in aws("s3").list_objects_v2(Bucket=bucket)["Contents"]:
        answer = aws("s3").get_object(Bucket=bucket, Key=one["Key"])
        path = folder / one["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer["Body"].read())
        if "/CloudTrail-Digest/" in one["Key"]:
            beside = path.with_name(f"{path.name}.metadata.json")
            beside.write_text(json.dumps({"Metadata": answer["Metadata"]}))


@pytest.mark.e2e
def test_a_bucket_by_its_url_says_that_its_trail_is_not_known(world: World) -> None:
    verdict, found = world.judged(place_of_url("s3://main"))
    assert verdict.outcome is Outcome.PROVED
    assert found.notes == ("Which events the trail selects is not known: its files may lack some.",)


@pytest.mark.e2e
def test_without_an_end_all_to_now_is_read(world: World) -> None:
    source = world.source(place_of_trail(world.aws))
    found = source.search(world.created)
    assert found.searched.until >= world.end + timedelta(hours=2)
    with pytest.raises(ValueError, match="hashed=True"):
        source.integrity(found, world.created)


@pytest.mark.e2e
def test_only_the_days_needed_are_listed(world: World) -> None:
    listed: list[str] = []
    client = world.aws("s3")

    def note(params: Any, **_: Any) -> None:
        listed.append(params.get("Prefix"))

    client.meta.events.register("before-parameter-build.s3.ListObjectsV2", note)
    world.judged(place_of_url("s3://main"))
    client.meta.events.unregister("before-parameter-build.s3.ListObjectsV2", note)
    account, region = world.aws.identity.account, world.aws.region
    days = [prefix for prefix in listed if "/CloudTrail/" in prefix]
    assert days == [f"AWSLogs/{account}/CloudTrail/{region}/2026/03/02/"]


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("selector", "lacks"),
    [
        ({"ExcludeManagementEventSources": ["kms.amazonaws.com"]}, "KMS's reading"),
        ({"ReadWriteType": "WriteOnly"}, "KMS's reading"),
        ({"ReadWriteType": "ReadOnly"}, "Image Builder's changing"),
    ],
)
def test_what_a_trail_does_not_select_its_files_cannot_show(
    world: World, selector: dict[str, Any], lacks: str
) -> None:
    client = world.aws("cloudtrail")
    everything = {"ReadWriteType": "All", "IncludeManagementEvents": True}
    client.put_event_selectors(TrailName="main", EventSelectors=[everything | selector])
    try:
        place = place_of_trail(world.aws, "main")
        source = world.source(place)
        assert source.lack.startswith(f"Trail main does not select {lacks} management events")
        found = source.search(world.since, world.until)
        assert source.lack in found.notes
        assert source.lack in found.searched.why_incomplete
        assert found.searched.incomplete == found.searched.spans
        verdict = prove([], world.claim(read=True), found.searched)
        assert (verdict.outcome, verdict.needs) == (Outcome.NOT_YET, {Need.SEARCH})
    finally:
        client.put_event_selectors(TrailName="main", EventSelectors=[everything])


@pytest.mark.e2e
def test_an_object_that_cannot_be_read_is_told_and_refutes_integrity(world: World) -> None:
    s3, place = world.aws("s3"), place_of_trail(world.aws)
    since, until = world.since - timedelta(minutes=2), world.end
    first = world.source(place).search(since, until).scanned[0].place
    key = first.removeprefix("s3://main/")
    content = s3.get_object(Bucket="main", Key=key)["Body"].read()
    try:
        s3.put_object(Bucket="main", Key=key, Body=content[:-9])
        found = world.source(place).search(since, until, hashed=True)
        (told,) = found.searched.malformed
        assert (told.place, told.reason[:12]) == (first, "is cut short")
        checked = world.source(place).integrity(found, since, until)
        assert checked.integrity is Integrity.REFUTED
        assert first in {one.place for one in checked.altered}
        s3.delete_object(Bucket="main", Key=key)
        found = world.source(place).search(since, until, hashed=True)
        checked = world.source(place).integrity(found, since, until)
        assert checked.altered[0].place == key
        assert "is missing" in checked.altered[0].reason
    finally:
        s3.put_object(Bucket="main", Key=key, Body=content)


@pytest.mark.e2e
def test_an_organisation_s_trail_has_a_folder_for_it(world: World) -> None:
    account, region, s3 = world.aws.identity.account, world.aws.region, world.aws("s3")
    where = {"LocationConstraint": region}
    s3.create_bucket(Bucket="organisation", CreateBucketConfiguration=where)
    for page in [s3.list_objects_v2(Bucket="main", Prefix=f"AWSLogs/{account}/CloudTrail/")]:
        for one in page["Contents"]:
            body = s3.get_object(Bucket="main", Key=one["Key"])["Body"].read()
            key = one["Key"].replace("AWSLogs/", "p/AWSLogs/o-exampleorgid/")
            s3.put_object(Bucket="organisation", Key=key, Body=body)
    empty = gzip.compress(b'{"Records":[]}')
    s3.put_object(Bucket="organisation", Key="p/AWSLogs/o-exampleorgid/444455556666/x", Body=empty)
    verdict, _ = world.judged(place_of_url("s3://organisation/p"))
    assert verdict.outcome is Outcome.PROVED
    with pytest.raises(ParameterError, match="there is no folder AWSLogs/"):
        world.judged(place_of_url("s3://organisation/other"))


@pytest.mark.e2e
def test_what_aws_refuses_is_said_in_words(world: World) -> None:
    with pytest.raises(AwsRefused, match="AWS refused ListObjectsV2: NoSuchBucket"):
        world.judged(place_of_url("s3://nowhere-at-all"))
    with pytest.raises(ParameterError, match=r"No trail absent covers .*; there is main"):
        place_of_trail(world.aws, "absent")
