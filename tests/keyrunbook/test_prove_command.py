"""`runbook prove`: one real run, the same verdict on it from each source, and what spoils it."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from keyrunbook import sandboxes
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.aws.wait import Waited
from keyrunbook.cli import _main
from keyrunbook.cli.watching import watching
from keyrunbook.execution.proved import Proof
from keyrunbook.execution.proving import Question, Watch, carry_out, of_the_verdict
from keyrunbook.ledger import NAME
from keyrunbook.logs import Integrity, search
from keyrunbook.logs.athena import ddl
from keyrunbook.parameters import Parameters, workflow_document
from keyrunbook.permissions import Where
from keyrunbook.proof import Need, Verdict
from keyrunbook.prove_permissions import ASKED_BY_AWS_ALONE, Asked, prove_policy
from keyrunbook.sandboxes import HANDED_OVER, Sandbox, start_private
from keyrunbook.session import open_step
from keyrunbook.steps import STEPS

KEY = "arn:aws:kms:us-west-2:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"
BUILD = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/images/1.0.0/1"
CLAIM = ["--key", KEY, "--workflow", BUILD]
ANSWERS = "s3://answers/queries"
BY_ATHENA = ["--source", "athena:cloudtrail", "--athena-output", ANSWERS]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "not said, or said twice"),
        (["--key", KEY], "not said, or said twice"),
        (["--run-id", "r", *CLAIM], "not said, or said twice"),
        (["--run-id", "absent"], "There is no run 'absent'"),
        (["--key", "alias/mine", "--workflow", BUILD], "--key: 'alias/mine' is not the ARN"),
        (["--key", KEY, "--workflow", BUILD[:-2]], "--workflow: "),
        ([*CLAIM, "--source", "athena:"], "athena: is not of the form athena:TABLE"),
        ([*CLAIM, "--source", "athena:a.b.c"], "athena:a.b.c is not of the form"),
        ([*CLAIM, "--source", "athena:logs", "--require-integrity"], "Athena takes no hashes"),
        ([*CLAIM, "--source", "trail:"], "names no trail"),
        ([*CLAIM, "--source", "trail", "--athena-seconds", "5"], "is not Athena"),
        ([*CLAIM, "--source", "athena:logs", "--athena-gigabytes", "0"], "--athena-gigabytes"),
        ([*CLAIM, "--source", "athena:logs", "--athena-gigabytes", "nan"], "is no limit"),
        ([*CLAIM, "--source", "athena:logs", "--athena-gigabytes", "inf"], "is no limit"),
        ([*CLAIM, "--source", "athena:logs", "--athena-output", "answers"], "'answers', is not of"),
        ([*CLAIM, "--lookup-calls", "0"], "--lookup-calls"),
        ([*CLAIM, "--source", "no-such-folder"], "no-such-folder"),
        ([*CLAIM, "--source", "s3:/trails"], "s3:/trails"),
        ([*CLAIM, "--require-integrity"], "The Event history has no digests"),
        ([*CLAIM, "--trail-keys", "absent.json", "--source", "."], "absent.json cannot be read"),
        ([*CLAIM, "--since", "yesterday"], "is no time with a time zone"),
        ([*CLAIM, "--since", "2026-03-02T09:00:00"], "is no time with a time zone"),
        (
            [*CLAIM, "--since", "2026-03-02T09:00:00Z", "--until", "2026-03-02T08:00:00Z"],
            "before it begins",
        ),
        ([*CLAIM, "--claim", "encrypted"], "'encrypted' is not one of"),
        ([*CLAIM, "--profile", "p"], "profile"),
        ([*CLAIM, "--region", "us-east-1", "--target", "sandbox", "--source", "."], "--region: "),
        ([*CLAIM, "--region", "us-east-1", "--source", "."], "--region: 'us-east-1' is not the"),
        ([*CLAIM, "--principal", "Admin", "--source", "."], "'Admin' is not the ARN of an IAM"),
        (
            [*CLAIM, "--principal", "arn:aws:sts::111122223333:assumed-role/Admin/jo"],
            "Give the role itself",
        ),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    words: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(HANDED_OVER, "/no/sandbox/is/here")  # it is said before anybody is asked
    assert _main(["prove", "--outputs", str(tmp_path), *words]) == 2
    assert says in capsys.readouterr().err


# On a sandbox of its own, since trails are the account's, and its clock is moved


class World:
    """An account with a trail, and a run that made an encrypted workflow; three hours ago."""

    def __init__(self, own: Sandbox, folder: Path) -> None:
        self.own, self.outputs, self.logs = own, folder / "outputs", folder / "logs"
        self.aws: Clients = sandbox_clients(own.ready())
        self._trail()
        self._advance(minutes=2)
        self.since = self.aws.now()
        for step in STEPS[1:4]:
            module = import_module(f"keyrunbook.steps.{step.partition('_')[2]}")
            run = open_step(
                step, Parameters(run_id="one", outputs_dir=str(self.outputs), settle_seconds=2)
            )
            module.apply(run, module.plan(module.observe(run), run.parameters))
            module.verify(run)
        facts = run.facts()
        self.key, self.build = facts["key_arn"], facts["workflow_arn"]
        self.other_key = str(self.aws("kms").create_key()["KeyMetadata"]["Arn"])
        self._advance(minutes=10)
        self._advance(hours=3)  # what was asked meanwhile is in a file of its own
        self._copy()
        self._table()

    @property
    def claim(self) -> list[str]:
        return ["--key", self.key, "--workflow", self.build]

    @property
    def from_since(self) -> list[str]:
        return ["--since", self.since.isoformat()]

    def _trail(self) -> None:
        aws, bucket = self.aws, "arn:aws:s3:::trails"
        allow = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
        statements = [
            {**allow, "Action": "s3:GetBucketAcl", "Resource": bucket},
            {**allow, "Action": "s3:PutObject", "Resource": f"{bucket}/AWSLogs/*"},
        ]
        where = {"LocationConstraint": aws.region}
        aws("s3").create_bucket(Bucket="trails", CreateBucketConfiguration=where)
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        aws("s3").put_bucket_policy(Bucket="trails", Policy=policy)
        aws("cloudtrail").create_trail(
            Name="main", S3BucketName="trails", EnableLogFileValidation=True
        )
        aws("cloudtrail").start_logging(Name="main")

    def _advance(self, **by: float) -> None:
        seconds = timedelta(**by).total_seconds()
        sandboxes.command(self.own.ready(), "advance", seconds=seconds)
        self.aws("kms").list_keys()  # its Date tells the service's new time

    def _copy(self) -> None:
        """What ``aws s3 sync`` and ``aws cloudtrail list-public-keys`` leave."""
        for one in self.aws("s3").list_objects_v2(Bucket="trails")["Contents"]:
            answer = self.aws("s3").get_object(Bucket="trails", Key=one["Key"])
            path = self.logs / one["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(answer["Body"].read())
        answer = self.aws("cloudtrail").list_public_keys(StartTime=self.since)
        listed = [
            {**one, "Value": base64.b64encode(one["Value"]).decode()}
            for one in answer["PublicKeyList"]
        ]
        self.keys = self.logs.with_name("keys.json")
        self.keys.write_text(json.dumps({"PublicKeyList": listed}, default=str))

    def _table(self) -> None:
        """A table, and a place for answers."""
        where = {"LocationConstraint": self.aws.region}
        self.aws("s3").create_bucket(Bucket="answers", CreateBucketConfiguration=where)
        self.make_table("cloudtrail", self.since.date())

    def make_table(self, name: str, since: date) -> None:
        """The table that `runbook athena-ddl` prints the statement of."""
        athena, place = self.aws("athena"), (self.aws.identity.account, self.aws.region)
        made = athena.start_query_execution(
            QueryString=ddl("default", name, "s3://trails", *place, since),
            ResultConfiguration={"OutputLocation": ANSWERS},
        )
        asked = partial(athena.get_query_execution, QueryExecutionId=made["QueryExecutionId"])
        until = time.monotonic() + 30
        while (state := asked()["QueryExecution"]["Status"])["State"] != "SUCCEEDED":
            assert time.monotonic() < until, state
            time.sleep(0.05)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with start_private("--clock", "2026-03-02T09:00:00Z") as own, pytest.MonkeyPatch.context() as m:
        own.ready()
        m.setenv(HANDED_OVER, str(own.path))
        yield World(own, tmp_path_factory.mktemp("world"))


Answer = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask(world: World, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Runs the command with --json; gives its status and what it printed."""

    def answer(*words: str | Path) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        status = _main(["prove", "--json", "--outputs", str(world.outputs), *map(str, words)])
        printed = capsys.readouterr()
        assert printed.out, printed.err
        return status, json.loads(printed.out)

    return answer


@pytest.mark.e2e
def test_each_source_proves_the_same_run_by_the_same_records(world: World, ask: Answer) -> None:
    ledger = (world.outputs / "one" / NAME).read_bytes()
    answers = {
        "run": ask("--run-id", "one"),
        "look-up": ask(*world.claim, *world.from_since),
        "bucket": ask(*world.claim, "--source", "s3://trails", "--require-integrity"),
        "run, bucket": ask("--run-id", "one", "--source", "s3://trails"),
        "copy": ask(
            *world.claim,
            *("--target", "sandbox", "--source", world.logs),
            *("--trail-keys", world.keys, "--require-integrity"),
        ),
        "run, copy": ask("--run-id", "one", "--source", world.logs),
        "trail": ask(*world.claim, "--source", "trail", "--require-integrity"),
        "run, trail": ask("--run-id", "one", "--source", "trail:main"),
        "athena": ask(*world.claim, *BY_ATHENA),
    }
    for name, (status, told) in answers.items():
        assert (status, told["verdict"]["outcome"]) == (0, "PROVED"), (name, told)
        assert told["exit_status"] == 0
        assert told["claim"]["kms_key_id"] == world.key
    assert len({tuple(told["verdict"]["events"]) for _, told in answers.values()}) == 1
    integrity = {
        name: told["integrity"] and told["integrity"]["integrity"]
        for name, (_, told) in answers.items()
    }
    assert integrity == {
        "run": None,
        "look-up": None,
        "bucket": "proven",
        "run, bucket": "proven",
        "copy": "proven",
        "run, copy": "proven",
        "trail": "proven",
        "run, trail": "proven",
        "athena": None,
    }
    assert (world.outputs / "one" / NAME).read_bytes() == ledger


@pytest.mark.e2e
@pytest.mark.parametrize("source", [["--source", "trail"], BY_ATHENA], ids=["trail", "athena"])
def test_a_trail_that_leaves_kms_out_is_told_of_and_its_files_settle_nothing(
    world: World, ask: Answer, source: list[str]
) -> None:
    every = {"ReadWriteType": "All", "IncludeManagementEvents": True}
    without = {**every, "ExcludeManagementEventSources": ["kms.amazonaws.com"]}
    select = partial(world.aws("cloudtrail").put_event_selectors, TrailName="main")
    select(EventSelectors=[without])
    try:
        status, told = ask(*world.claim, *source)
    finally:
        select(EventSelectors=[every])
    lack = "Trail main does not select KMS's reading management events"
    assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET")
    assert lack in told["why_incomplete"]
    assert [note for note in told["notes"] if lack in note]


@pytest.mark.e2e
def test_a_trail_that_is_not_there_is_said(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(["prove", *world.claim, "--source", "trail:other"]) == 2
    assert "No trail other covers us-west-2; there is main." in capsys.readouterr().err


@pytest.mark.e2e
def test_a_table_of_later_days_settles_nothing(world: World, ask: Answer) -> None:
    world.make_table("late", world.since.date() + timedelta(days=1))
    status, told = ask(*world.claim, "--source", "athena:late", *BY_ATHENA[2:])
    assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET")
    assert "hold nothing from before 2026-03-03T00:00:00" in told["why_incomplete"]


@pytest.mark.e2e
def test_over_athena_s_limit_nothing_is_run(world: World, ask: Answer) -> None:
    status, told = ask(*world.claim, *BY_ATHENA, "--athena-gigabytes", "1e-9")
    assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET")
    assert "nothing was run" in told["verdict"]["clauses"][0]["reason"]


@pytest.mark.e2e
def test_over_the_look_up_s_cap_other_sources_are_named(world: World, ask: Answer) -> None:
    status, told = ask(*world.claim, "--lookup-calls", "1")
    assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET")
    for source in ("--source trail", "s3://", "--source athena:"):
        assert source in told["verdict"]["clauses"][1]["reason"]


@pytest.mark.e2e
def test_by_look_up_alone_the_command_s_own_read_is_enough(world: World, ask: Answer) -> None:
    status, told = ask(*world.claim)
    assert (status, told["verdict"]["outcome"]) == (0, "PROVED")


@pytest.mark.e2e
def test_files_alone_leave_open_which_key_getworkflow_names(
    world: World, ask: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HANDED_OVER, "/no/sandbox/is/here")  # who asks AWS fails
    status, told = ask(*world.claim, "--source", world.logs, "--trail-keys", world.keys)
    assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET")
    assert told["claim"]["get_workflow"] == "not read"
    assert told["integrity"]["integrity"] == "proven"
    for clause in told["verdict"]["clauses"]:
        assert "GetWorkflow could not be asked" in clause["reason"]
    # The creation's own record told when: the data key's record is not set aside as of another.
    assert not [one for one in told["verdict"]["rejected"] if "creation" in one["reason"]]
    other = ["--key", world.other_key, "--workflow", world.build]
    status, told = ask(*other, "--source", world.logs)
    assert (status, told["verdict"]["outcome"]) == (1, "REFUTED"), told
    assert len(told["verdict"]["events"]) == 2


@pytest.mark.e2e
def test_where_nothing_tells_the_build_s_creation_it_must_be_given(
    world: World, ask: Answer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = (world.since + timedelta(minutes=30)).isoformat()
    absent = ["--key", world.key, "--workflow", f"{world.build[:-1]}7", "--source", str(world.logs)]
    assert _main(["prove", *absent]) == 2
    assert "by --since" in capsys.readouterr().err
    status, told = ask(*absent, "--since", late)
    assert (status, told["claim"]["created"]) == (3, late)


@pytest.mark.e2e
@pytest.mark.parametrize("source", [[], ["--source", "s3://trails"]])
def test_another_key_is_refuted_by_getworkflow(
    source: list[str], world: World, ask: Answer, tmp_path: Path
) -> None:
    file = tmp_path / "prove.xml"
    other = ["--key", world.other_key, "--workflow", world.build, "--junit", str(file)]
    status, told = ask(*other, *source)
    assert (status, told["verdict"]["outcome"]) == (1, "REFUTED")
    suite = ElementTree.parse(file).getroot()
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    clauses = {"encrypted": ["failure"], "readable": ["failure"]}
    assert cases == clauses | ({"integrity": []} if source else {})
    assert (suite.get("failures"), suite.get("tests")) == ("2", str(len(cases)))


@pytest.mark.e2e
def test_a_file_that_was_removed_leaves_it_open_and_its_digest_tells(
    world: World, ask: Answer, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(world.logs, tmp_path / "logs"))
    asked = [*world.claim, "--target", "sandbox", "--source", copied]
    _, whole = ask(*asked)
    made = whole["verdict"]["events"][0].encode()
    files = list(copied.rglob("*_CloudTrail_*.json.gz"))
    (holds_it,) = [path for path in files if made in gzip.decompress(path.read_bytes())]
    holds_it.unlink()
    file = tmp_path / "prove.xml"
    status, told = ask(*asked, "--trail-keys", world.keys, "--junit", file)
    assert (status, told["verdict"]["outcome"]) == (1, "NOT_YET")
    assert told["integrity"]["integrity"] == "refuted"
    assert "is missing" in told["integrity"]["says"]
    cases = {case.get("name"): [c.tag for c in case] for case in ElementTree.parse(file).getroot()}
    assert (cases["encrypted"], cases["integrity"]) == (["skipped"], ["failure"])
    for path in copied.rglob("*_CloudTrail-Digest_*"):
        path.unlink()
    status, told = ask(*asked, "--trail-keys", world.keys)
    assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET")
    assert told["integrity"]["integrity"] == "not proven"


@pytest.mark.e2e
def test_integrity_that_is_required_and_not_proven_is_not_enough(world: World, ask: Answer) -> None:
    asked = [*world.claim, "--target", "sandbox", "--source"]
    files = list(world.logs.rglob("*_CloudTrail_*.json.gz"))
    alone = [*asked, str(min(files))]  # without its digests
    status, told = ask(*alone)
    assert (status, told["verdict"]["outcome"]) == (0, "PROVED")
    assert told["integrity"]["integrity"] == "not proven"
    status, told = ask(*alone, "--require-integrity")
    assert (status, told["exit_status"], told["verdict"]["outcome"]) == (3, 3, "PROVED")


@pytest.mark.e2e
def test_a_file_that_no_digest_names_may_not_carry_the_verdict(
    world: World, ask: Answer, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(world.logs, tmp_path / "logs"))
    files = list(copied.rglob("*_CloudTrail_*.json.gz"))
    shutil.copy(min(files), copied / "more.json.gz")
    status, told = ask(*world.claim, "--target", "sandbox", "--source", copied)
    assert (status, told["verdict"]["outcome"]) == (0, "PROVED")
    assert told["integrity"]["integrity"] == "not proven"
    assert str(copied / "more.json.gz") in told["integrity"]["says"]


@pytest.mark.e2e
def test_a_digest_of_other_files_does_not_vouch_for_the_verdict_s(world: World) -> None:
    source = str(world.logs)
    question = Question(world.key, world.build, source=source)
    proof = carry_out(question, Parameters(target="sandbox", read_only=True))
    found = search([source], hashed=True)
    assert proof.integrity is not None
    assert of_the_verdict(proof.integrity, found, proof.verdict) == proof.integrity
    others = replace(proof.integrity, as_delivered=("another.json.gz",))
    checked = of_the_verdict(others, found, proof.verdict)
    assert (proof.integrity.integrity, checked.integrity) == (
        Integrity.PROVEN,
        Integrity.NOT_PROVEN,
    )
    assert "no proven digest names it" in checked.sentence


@pytest.mark.e2e
def test_junit_is_xml_whatever_a_reason_holds_and_a_place_that_is_not_there_is_told(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["prove", "--run-id", "one", "--outputs", str(world.outputs)]
    assert _main([*asked, "--junit", str(tmp_path / "absent" / "prove.xml")]) == 5
    told = capsys.readouterr()
    assert "cannot be written: No such file" in told.err
    assert "Verdict: ✓ PROVED" in told.out
    odd = tmp_path / "odd\x01<&>.d"
    shutil.copytree(world.logs, odd)
    file = tmp_path / "prove.xml"
    asked = ["prove", *world.claim, "--target", "sandbox", "--source", str(odd)]
    next(odd.rglob("*_CloudTrail_*.json.gz")).write_bytes(b"no gzip")
    assert _main([*asked, "--junit", str(file), "--until", "2026-03-02T15:00:00Z"]) == 1
    messages = [
        child.get("message") for case in ElementTree.parse(file).getroot() for child in case
    ]
    assert any("odd\ufffd<&>.d" in str(message) for message in messages), messages


@pytest.mark.e2e
def test_what_is_after_the_end_that_is_given_does_not_count(world: World, ask: Answer) -> None:
    files = ["--target", "sandbox", "--source", world.logs]
    _, whole = ask(*world.claim, *files)
    end = datetime.fromisoformat(whole["claim"]["created"]) - timedelta(seconds=7)
    early = ["--until", end.isoformat()]
    for source in ([], files):
        status, told = ask(*world.claim, *early, *source)
        assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET"), told
        assert told["verdict"]["events"] == []


@pytest.mark.e2e
def test_without_permission_for_getworkflow_it_says_which_clauses_stay_open(
    world: World, ask: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    iam, handoff = world.aws("iam"), world.own.ready()
    iam.create_user(UserName="auditor")
    allow = {"Effect": "Allow", "Action": "cloudtrail:LookupEvents", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName="auditor", PolicyName="lookup", PolicyDocument=policy)
    key = iam.create_access_key(UserName="auditor")["AccessKey"]
    monkeypatch.delenv(HANDED_OVER)
    monkeypatch.setenv("AWS_ENDPOINT_URL", handoff.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    status, told = ask(*world.claim, "--target", "aws", *world.from_since)
    assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET")
    assert told["claim"]["get_workflow"] == "not read"
    assert told["notes"][0] == "Where GetWorkflow was asked: not AWS's endpoint."
    assert "AWS refused GetWorkflow: AccessDenied" in told["notes"][1]
    assert "action. So which key the workflow names is not known." in told["notes"][1]
    for clause in told["verdict"]["clauses"]:
        assert "GetWorkflow could not be asked which key" in clause["reason"]


class Auditor:
    """A user of the account that holds one policy, and asks with the command."""

    def __init__(self, world: World, ask: Answer, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._ask, self._iam = ask, world.aws("iam")
        self._iam.create_user(UserName=folder.name)
        self._name, self._held = folder.name, list[str]()
        key = self._iam.create_access_key(UserName=folder.name)["AccessKey"]
        handoff = replace(
            world.own.ready(),
            access_key_id=key["AccessKeyId"],
            secret_access_key=key["SecretAccessKey"],
        )
        path = folder / "handoff.json"
        path.touch(mode=0o600)
        fields = {name: getattr(handoff, name) for name in handoff.__dataclass_fields__}
        path.write_text(json.dumps(fields))
        patch.setenv(HANDED_OVER, str(path))

    def asks(self, policy: Mapping[str, Any], *words: str) -> bool:
        """Whether, with that policy, it is proved, and nothing is said to have been refused."""
        number = len(self._held)
        arn = self._iam.create_policy(
            PolicyName=f"{self._name}-{number}", PolicyDocument=json.dumps(policy)
        )["Policy"]["Arn"]
        self._iam.attach_user_policy(UserName=self._name, PolicyArn=arn)
        if self._held:
            self._iam.detach_user_policy(UserName=self._name, PolicyArn=self._held[-1])
        self._held.append(arn)
        try:
            status, told = self._ask(*words)
        except AssertionError:  # it printed an error, and no answer
            return False
        said = json.dumps([told["notes"], told["integrity"]])
        return status == 0 and "AccessDenied" not in said and "was refused" not in said


def without(policy: Mapping[str, Any], action: str) -> dict[str, Any]:
    statements = []
    for one in policy["Statement"]:
        actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
        if left := [other for other in actions if other != action]:
            statements.append({**one, "Action": left})
    return {**policy, "Statement": statements}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked("lookup"), []),
        (Asked("trail", "s3://trails"), ["--source", "trail", "--require-integrity"]),
        (Asked("athena:cloudtrail", "s3://trails", ANSWERS), BY_ATHENA),
    ],
    ids=lambda one: getattr(one, "source", ""),
)
def test_with_the_printed_policy_it_is_proved_and_with_an_action_less_it_is_not(
    world: World,
    ask: Answer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: Asked,
    words: list[str],
) -> None:
    where = Where("aws", world.aws.region, world.aws.identity.account)
    policy = prove_policy(replace(asked, key_arn=world.key, workflow=world.build), where)
    auditor = Auditor(world, ask, tmp_path, monkeypatch)
    assert auditor.asks(policy, *world.claim, *words)
    if asked.kind == "trail":  # of which this is a part
        less = prove_policy(Asked("s3://trails", key_arn=world.key, workflow=world.build), where)
        assert auditor.asks(less, *world.claim, "--source", "s3://trails", *words[2:])
    listed = [one["Action"] for one in policy["Statement"]]
    actions = {one for each in listed for one in ([each] if isinstance(each, str) else each)}
    needless = ASKED_BY_AWS_ALONE | {"athena:StopQueryExecution"}  # of one that takes too long
    for action in sorted(actions - needless):
        assert not auditor.asks(without(policy, action), *world.claim, *words), action


@pytest.mark.e2e
def test_only_permitted_principals_count_and_readable_alone_can_be_claimed(
    world: World, ask: Answer, tmp_path: Path
) -> None:
    nobody = f"arn:aws:iam::{world.aws.identity.account}:role/Nobody"
    files = ["--target", "sandbox", "--source", world.logs]
    status, told = ask(*world.claim, *files, "--principal", nobody)
    assert (status, told["verdict"]["outcome"]) == (3, "NOT_YET")
    me = world.aws.identity.arn
    status, _ = ask(*world.claim, *files, "--principal", nobody, "--principal", me)
    assert status == 0
    file = tmp_path / "prove.xml"
    status, told = ask("--run-id", "one", "--claim", "readable", "--junit", file)
    assert (status, told["claim"]["claimed"]) == (0, "readable")
    assert [case.get("name") for case in ElementTree.parse(file).getroot()] == ["readable"]


@pytest.mark.e2e
def test_a_person_reads_verdict_records_and_integrity(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prove", "--run-id", "one", "--outputs", str(world.outputs), "--source", "s3://trails"]
    assert _main(words) == 0
    text = capsys.readouterr().out
    for said in ("Verdict: ✓ PROVED", "GenerateDataKey", "✓ counts", "Integrity proven", "not AWS"):
        assert said in text
    absent = ["prove", "--key", world.key, "--workflow", f"{world.build[:-1]}7"]
    assert _main(absent) == 5
    assert "AWS refused GetWorkflow: ResourceNotFound" in capsys.readouterr().err


# --- what takes time ------------------------------------------------------------------------------


@pytest.mark.e2e
def test_a_read_that_another_call_may_own_is_made_again_two_clock_skews_later(world: World) -> None:
    builder = world.aws("imagebuilder")
    given = {"name": "again", "semanticVersion": "1.0.0", "type": "BUILD", "kmsKeyId": world.key}
    given["data"] = workflow_document(Parameters())
    one, other = (
        builder.create_workflow(**given, description=text)["workflowBuildVersionArn"]
        for text in ("first", "second")
    )
    looks: list[Verdict] = []

    def look_and_move_on(waited: Waited) -> None:
        if isinstance(waited.state, Verdict):
            looks.append(waited.state)
            world._advance(seconds=7)  # the skew on the sandbox is 5 seconds

    builder.get_workflow(workflowBuildVersionArn=other)
    asked = Parameters(target="sandbox", read_only=True, event_wait_seconds=30)
    proof = carry_out(Question(world.key, one), asked, Watch(waiting=look_and_move_on))
    assert proof.exit_status == 0, proof.text()
    assert [look.needs for look in looks[:2]] == [{Need.READ_AGAIN}] * 2
    first, again = proof.verdict.claim.reads
    assert again.since - first.until >= 2 * proof.verdict.claim.clock_skew
    (decrypt,) = proof.verdict.readable.records
    assert decrypt.time >= again.since - proof.verdict.claim.clock_skew


@pytest.mark.e2e
def test_a_record_that_is_not_delivered_yet_is_waited_for_to_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with start_private("--event-delay", "600") as own:
        aws = sandbox_clients(own.ready())
        monkeypatch.setenv(HANDED_OVER, str(own.path))
        key = aws("kms").create_key()["KeyMetadata"]["Arn"]
        build = aws("imagebuilder").create_workflow(
            **{"name": "late", "semanticVersion": "1.0.0", "type": "BUILD", "kmsKeyId": key},
            data=workflow_document(Parameters()),
        )["workflowBuildVersionArn"]
        looks: list[Waited] = []

        def deliver(waited: Waited) -> None:
            looks.append(waited)
            if len(looks) == 2:
                sandboxes.command(own.ready(), "advance", seconds=700)

        def asked(limit_s: int, waiting: Callable[[Waited], None]) -> Proof:
            known = Parameters(target="sandbox", read_only=True, event_wait_seconds=limit_s)
            return carry_out(Question(key, build), known, Watch(waiting=waiting))

        proof = asked(0, looks.append)
        assert (proof.exit_status, len(looks)) == (3, 1)
        assert proof.verdict.needs == {Need.WAIT}
        assert "no Decrypt record of this build's reads was seen" in proof.text()
        looks.clear()
        assert asked(30, deliver).exit_status == 0
        assert [look.over for look in looks] == [False, False, True]


@pytest.mark.e2e
def test_what_no_waiting_helps_is_not_waited_for(world: World) -> None:
    asked = Parameters(target="sandbox", read_only=True, event_wait_seconds=600)
    early = world.since - timedelta(seconds=1)  # before the read that would tie it
    for question, status in (
        (Question(world.other_key, world.build), 1),  # GetWorkflow names another
        (Question(world.key, world.build, until=early), 3),
    ):
        looks: list[Waited] = []
        proof = carry_out(question, asked, Watch(waiting=looks.append))
        assert (proof.exit_status, [look.over for look in looks]) == (status, [True])


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def told(stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is seen of one proof's work, of each kind."""
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    with watching() as watch:
        for done in range(4):
            watch.files(done, 3)
            watch.waiting(Waited(float(done), 3.0, done + 1, over=done == 3))
            watch.query(Waited(float(done), 3.0, done + 1, "5 bytes read"))
        for calls in (300, 300, 3):
            watch.calls(calls)
    return stderr.getvalue()


def test_on_a_terminal_bars_show_how_it_gets_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = told(Terminal(), monkeypatch)
    for one in (
        "log files read: 3 of 3",
        "waiting for CloudTrail's records, 3 s",
        "Athena's query, 3 s: 5 bytes read",
        "The look-up takes about 300 calls, 150 s or more.",
    ):
        assert one in seen
    assert capsys.readouterr().out == ""


def test_elsewhere_each_kind_of_wait_is_told_once_and_no_bar_is_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(io.StringIO(), monkeypatch).splitlines() == [
        "Waiting for CloudTrail's records, at most 3 s.",
        "The look-up takes about 300 calls, 150 s or more.",
    ]
    assert capsys.readouterr().out == ""
