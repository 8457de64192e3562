"""The trail leaves the events of KMS out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from keyrunbook.aws.trails import Trail, lacks, read_trails
from keyrunbook.exercises import stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding
from keyrunbook.records import IMAGE_BUILDER, KMS

NAME: Final = "audit"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told."""

    trail: str
    bucket: str
    workflow_arn: str


def situation(account: Account) -> Facts:
    """A trail that logs everything but KMS, to save money."""
    bucket = f"audit-{account.number}"
    arn = f"arn:{account.partition}:s3:::{bucket}"
    clients = account.administrator
    s3, cloudtrail = clients("s3"), clients("cloudtrail")
    allow: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
    }
    where = {"LocationConstraint": clients.region}
    elsewhere = {} if clients.region == "us-east-1" else {"CreateBucketConfiguration": where}
    s3.create_bucket(Bucket=bucket, **elsewhere)
    s3.put_bucket_policy(
        Bucket=bucket,
        Policy=stage.text_of(
            {**allow, "Action": "s3:GetBucketAcl", "Resource": arn},
            {**allow, "Action": "s3:PutObject", "Resource": f"{arn}/AWSLogs/*"},
        ),
    )
    cloudtrail.create_trail(Name=NAME, S3BucketName=bucket)
    cloudtrail.put_event_selectors(
        TrailName=NAME,
        EventSelectors=[
            {
                "ReadWriteType": "All",
                "IncludeManagementEvents": True,
                "ExcludeManagementEventSources": [KMS],
            }
        ],
    )
    cloudtrail.start_logging(Name=NAME)
    return Facts(NAME, bucket, stage.a_workflow(clients, stage.a_key(account)))


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """A trail keeps KMS's events that read and that change, and Image Builder's as before."""
    trails = read_trails(exercise.account.administrator)
    return [
        _kept("KMS's GenerateDataKey and Decrypt are kept", trails, KMS, reads=True),
        _kept("KMS's changes are kept, such as PutKeyPolicy", trails, KMS, reads=False),
        _kept("Image Builder's GetWorkflow is kept", trails, IMAGE_BUILDER, reads=True),
        _kept("Image Builder's CreateWorkflow is kept", trails, IMAGE_BUILDER, reads=False),
    ]


def _kept(statement: str, trails: list[Trail], source: str, *, reads: bool) -> Finding:
    why = {one.name: lacks(one, source, kinds=[reads]) for one in trails}
    keeping = [name for name, lack in why.items() if lack is None]
    if keeping:
        return Finding(statement, "pass", f"by {', '.join(keeping)}")
    said = "; ".join(f"{name} {lack}" for name, lack in why.items())
    return Finding(statement, "fail", said or "there is no trail")


def solution(exercise: Exercise[Facts]) -> None:
    """The same selector, which leaves nothing out."""
    exercise.client("cloudtrail").put_event_selectors(
        TrailName=exercise.facts.trail,
        EventSelectors=[{"ReadWriteType": "All", "IncludeManagementEvents": True}],
    )


LESSON = Lesson(
    title="The auditor's bucket has no event of KMS",
    minutes=6,
    learn="a trail can leave KMS out; Decrypt is a reading event; nothing comes back afterwards",
    task="from now on, log files are to hold what a proof needs: the events of KMS and Image "
    "Builder, those that read included.",
    situation=situation,
    check=check,
    moral="From now on. What was left out is not delivered afterwards: for the time before there "
    "is the Event history, which has KMS's events of 90 days whatever trails say.",
    hints=(
        "Does the trail log at all, and what does it select? GetTrailStatus, GetEventSelectors.",
        "ExcludeManagementEventSources holds kms.amazonaws.com. PutEventSelectors replaces all "
        "selectors, so give the whole selector anew.",
        "GenerateDataKey and Decrypt count as reading: ReadWriteType must be All, not WriteOnly; "
        "and ExcludeManagementEventSources empty or left out.",
    ),
    solution=solution,
)
