"""The proof on a real sandbox: PROVED with the pair of records, and never without it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jobs import DOCUMENT, Job
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.wait import Waited
from keyrunbook.proof import Need, Outcome, Span
from keyrunbook.sandboxes import HANDED_OVER, command, start_private
from keyrunbook.steps import confirm_events
from keyrunbook.steps.events import fewer

T0 = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
IMAGE_BUILDER = "imagebuilder.amazonaws.com"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def span(value: str, begin: int, end: int, attribute: str = "EventName") -> Span:
    return Span(attribute, value, T0 + timedelta(seconds=begin), T0 + timedelta(seconds=end))  # type: ignore[arg-type]


OTHER = span(IMAGE_BUILDER, 0, 9, "EventSource")


@pytest.mark.parametrize(
    ("spans", "asked"),
    [
        pytest.param(
            [span("GenerateDataKey", 0, 4), span("Decrypt", 2, 7), OTHER],
            [span("kms.amazonaws.com", 0, 7, "EventSource"), OTHER],
            id="a data key and Decrypts that meet are asked for at once",
        ),
        pytest.param(
            [span("GenerateDataKey", 0, 4), span("Decrypt", 5, 7), OTHER],
            [span("GenerateDataKey", 0, 4), span("Decrypt", 5, 7), OTHER],
            id="apart, each is asked for by name",
        ),
        pytest.param(
            [span("GenerateDataKey", 0, 40), span("Decrypt", 30, 90)],
            [span("GenerateDataKey", 0, 40), span("Decrypt", 30, 90)],
            id="more than a minute of all of KMS's records is too many",
        ),
        pytest.param(
            [span("GenerateDataKey", 0, 4), span("Decrypt", 3, 7), span("Decrypt", 50, 57)],
            [span("kms.amazonaws.com", 0, 7, "EventSource"), span("Decrypt", 50, 57)],
            id="a later read keeps its own span",
        ),
    ],
)
def test_what_is_asked_for(spans: list[Span], asked: list[Span]) -> None:
    assert list(fewer(spans)) == asked


@pytest.mark.e2e
def test_proved_by_the_pair_of_records(job: Job) -> None:
    run = job.through("03")
    verdict = job.do("04")
    assert verdict.outcome is Outcome.PROVED
    assert [record.name for record in verdict.records] == ["GenerateDataKey", "Decrypt"]
    assert {record.key_arns for record in verdict.records} == {(run.facts()["key_arn"],)}
    [line] = run.ledger.of_kind("verdict")
    assert (line["verdict"], line["events"]) == ("PROVED", list(verdict.events))
    assert "04_confirm_events" in run.ledger.done()


@pytest.mark.e2e
def test_a_second_run_of_the_step_proves_it_again(job: Job) -> None:
    run = job.through("04")
    assert job.do("04").outcome is Outcome.PROVED
    assert len(run.ledger.of_kind("verdict")) == 2


@pytest.mark.e2e
def test_another_run_proves_the_same_workflow(new_job: Callable[..., Job]) -> None:
    """The claim is about the build, not about the run that made it."""
    first = new_job()
    key_arn = first.through("03").facts()["key_arn"]
    second = new_job(more="b", **{**first.given, "run_id": "second", "key_arn": key_arn})
    for step in ("01", "02", "03"):
        second.do(step)
    assert second.do("04").outcome is Outcome.PROVED
    made = [line["call"] for line in second.open("04").ledger.of_kind("intent")]
    assert "imagebuilder:CreateWorkflow" not in made


@pytest.mark.e2e
def test_another_build_read_at_the_same_time_is_told_apart_by_reading_again(
    job: Job, aws: Clients
) -> None:
    """The context names no build: another build's GetWorkflow near ours could own the Decrypt."""
    run = job.through("03")
    name, key_arn = job.given["workflow_name"], run.facts()["key_arn"]
    other = aws("imagebuilder").create_workflow(
        name=name, semanticVersion="1.0.0", type="BUILD", kmsKeyId=key_arn,
        data=DOCUMENT + "\n# other\n",
    )["workflowBuildVersionArn"]  # fmt: skip
    aws("imagebuilder").get_workflow(workflowBuildVersionArn=other)
    waits: list[Waited] = []
    verdict = confirm_events.verify(job.open("04", event_wait_seconds=30), progress=waits.append)
    assert verdict.outcome is Outcome.PROVED
    assert len(waits) > 1
    reads = run.ledger.of_kind("read", "04_confirm_events")
    assert len(reads) == 2


@pytest.mark.e2e
def test_without_wait_the_same_is_not_yet(job: Job, aws: Clients) -> None:
    run = job.through("03")
    other = aws("imagebuilder").create_workflow(
        name=job.given["workflow_name"], semanticVersion="1.0.0", type="BUILD",
        kmsKeyId=run.facts()["key_arn"],
        data=DOCUMENT + "\n# other\n",
    )["workflowBuildVersionArn"]  # fmt: skip
    aws("imagebuilder").get_workflow(workflowBuildVersionArn=other)
    verdict = confirm_events.verify(job.open("04", event_wait_seconds=0))
    assert verdict.outcome is Outcome.NOT_YET
    assert Need.READ_AGAIN in verdict.needs


@pytest.mark.e2e
def test_a_workflow_without_a_key_is_refuted(job: Job, aws: Clients) -> None:
    run = job.through("03")
    plain = aws("imagebuilder").create_workflow(
        name=f"{job.given['workflow_name']}-plain", semanticVersion="1.0.0", type="BUILD",
        data=DOCUMENT,
    )["workflowBuildVersionArn"]  # fmt: skip
    run.learn(workflow_arn=plain)
    verdict = confirm_events.verify(job.open("04"))
    assert verdict.outcome is Outcome.REFUTED
    assert "names no key" in str(confirm_events.conclusion(verdict))
    assert [one.status for one in confirm_events.findings(verdict)][:2] == ["fail", "fail"]


@pytest.mark.e2e
def test_a_workflow_under_another_key_is_refuted(job: Job, aws: Clients) -> None:
    run = job.through("03")
    run.learn(key_arn=aws("kms").create_key()["KeyMetadata"]["Arn"])
    assert confirm_events.verify(job.open("04")).outcome is Outcome.REFUTED


@pytest.mark.e2e
def test_records_that_are_not_delivered_yet_are_not_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No wait long enough: NOT_YET, which says so; once delivered, the same run is PROVED."""
    with start_private("--event-delay", "600") as late:
        handoff = late.ready()
        monkeypatch.setenv(HANDED_OVER, str(late.path))
        job = Job(tmp_path, "late", event_wait_seconds=1)
        run = job.through("03")
        waits: list[Waited] = []
        verdict = confirm_events.verify(job.open("04"), progress=waits.append)
        assert verdict.outcome is Outcome.NOT_YET
        assert verdict.events == ()
        assert len(waits) > 1
        assert waits[-1].over
        told = str(confirm_events.conclusion(verdict))
        assert told.startswith("NOT YET for the workflow build/workflow-late/1.0.0/1")
        assert "run the notebook again" in told
        assert confirm_events.records(verdict).table.rows == []
        assert "04_confirm_events" in run.ledger.done()
        command(handoff, "advance", seconds=601)
        assert confirm_events.verify(job.open("04")).outcome is Outcome.PROVED


@pytest.mark.e2e
def test_the_pictures_tell_what_counts(job: Job) -> None:
    job.through("03")
    run = job.open("04")
    verdict = confirm_events.verify(run)
    shown = confirm_events.records(verdict).shown
    # Other tests' records of the same seconds are set aside, too.
    ours = [one for one in shown if run.facts()["key_arn"] in one.record.key_arns]
    assert [(one.counts, one.record.name) for one in ours] == [
        ("✓ counts", "GenerateDataKey"),
        ("✓ counts", "Decrypt"),
        ("– set aside", "Decrypt"),
    ]
    timeline = confirm_events.timeline(run, verdict)
    told = re.sub(TIME, "T", timeline.text()).splitlines()
    assert [line for line in told if not line.startswith("- no call of this run")] == [
        "Verdict: PROVED (embedded sandbox, not AWS)",
        "- kms:CreateKey at T",
        "- kms:EnableKeyRotation at T",
        "- kms:CreateAlias at T",
        "- iam:CreateRole at T",
        "- kms:PutKeyPolicy (change of policy) at T",
        "- iam:PutRolePolicy (change of policy) at T",
        "- imagebuilder:CreateWorkflow at T → CloudTrail: GenerateDataKey (counts) at T, seen by T",
        "- imagebuilder:GetWorkflow at T → CloudTrail: Decrypt (counts) at T, seen by T",
        "- imagebuilder:GetWorkflow at T → CloudTrail: Decrypt (set aside) at T, seen by T",
    ]
    assert all(mark.delay_s < 30 for row in timeline.rows for mark in row.marks)
    caller = f"user/administrator through {IMAGE_BUILDER}"
    version = f"workflow build/{job.given['workflow_name']}/1.0.0/*"
    assert [row[:5] for row in confirm_events.used_by(verdict).rows] == [
        ("✓ used", "Decrypt", version, caller, "2"),
        ("✓ used", "GenerateDataKey", version, caller, "1"),
    ]
    [agrees] = confirm_events.last_use(run, verdict)
    assert agrees.status == "pass", agrees.evidence
    conclusion = str(confirm_events.conclusion(verdict))
    assert conclusion.startswith("PROVED: Image Builder encrypted the workflow build/workflow-")
    assert "embedded sandbox, not AWS" in conclusion


@pytest.mark.e2e
def test_what_is_shown_holds_nothing_random(job: Job) -> None:
    """No event id, request id or public key: outputs are compared."""
    job.through("03")
    run = job.open("04")
    verdict = confirm_events.verify(run)
    shown = "\n".join(
        [
            confirm_events.table(verdict).text(),
            *confirm_events.records(verdict)._repr_mimebundle_().values(),
            confirm_events.used_by(verdict).text(),
            confirm_events.last_use(run, verdict)._repr_mimebundle_()["text/html"],
            confirm_events.usage_by_day(run, verdict).text(),
            confirm_events.timeline(run, verdict).text(),
            str(confirm_events.conclusion(verdict)),
        ]
    )
    for record in (*verdict.records, *(item.record for item in verdict.rejected)):
        context = record.encryption_context or {}
        for secret in (record.event_id, record.request_id, context["aws-crypto-public-key"]):
            assert secret not in shown
    assert "127.0.0.1" not in shown
