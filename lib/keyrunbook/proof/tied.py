"""Which Decrypts a call of this build made, and no other call can have made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from keyrunbook.proof.claim import Claim, Read
from keyrunbook.proof.searched import Searched
from keyrunbook.proof.sound import DECRYPT, foreign_place, in_the_way, message
from keyrunbook.proof.verdict import Need
from keyrunbook.records import IMAGE_BUILDER, Record

GET_WORKFLOW: Final = "GetWorkflow"

READERS: Final = frozenset(
    {
        GET_WORKFLOW,
        "GetWorkflowStepExecution",
        "CreateImage",
        "CreateImagePipeline",
        "UpdateImagePipeline",
        "StartImagePipelineExecution",
        "RetryImage",
        "DistributeImage",
        "SendWorkflowStepAction",
    }
)
"""Image Builder's calls that may make it decrypt a workflow as their caller.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2imagebuilder.html
"""

_ANY_WORKFLOW = re.compile(r"arn:[^:]+:imagebuilder:[^:]*:[^:]*:workflow/", re.IGNORECASE)


def tied_decrypts(
    sound: Sequence[Record],
    given: Sequence[Record],
    set_aside: Sequence[Record],
    claim: Claim,
    searched: Searched,
    reasons: dict[str, str],
) -> tuple[list[Record], Need]:
    """The sound Decrypts that a call of this build made and no other can have made.

    Why each of the others is not is put into `reasons`. Also what would help if there is none.
    """
    reads = _reads(given, claim)
    # What was set aside counts for nothing, but may still be in the way.
    strangers = [r for r in (*given, *set_aside) if _may_read_another_build(r, claim)]
    rivals = [r for r in (*given, *set_aside) if r.name == DECRYPT and in_the_way(r, claim)]
    decrypts = [record for record in sound if record.name == DECRYPT]
    tied: list[Record] = []
    need = Need.WAIT if reads else Need.READ_AGAIN
    for record in decrypts:
        owners = [read for read in reads if _may_own(read, record, claim)]
        if not owners:
            reasons[record.event_id] = (
                f"no GetWorkflow call of this build by {record.principal_arn} is known at that time"
            )
            continue
        stranger = next((other for other in strangers if _near(other, record, claim)), None)
        if stranger is not None:
            reasons[record.event_id] = (
                f"it may belong to the {stranger.name} call {stranger.event_id}, which is or may "
                "be of another build of this version"
            )
            need = Need.READ_AGAIN
        elif _has_rival(record, owners, rivals, claim):
            reasons[record.event_id] = (
                "another message of this version was opened at the same time by the same caller"
            )
            need = Need.READ_AGAIN
        elif not searched.covers(
            IMAGE_BUILDER, GET_WORKFLOW, record.time - claim.clock_skew, record.time
        ):
            reasons[record.event_id] = (
                f"{searched.source} was not asked, or did not answer in full, which other "
                "GetWorkflow calls there were at that time"
            )
            need = Need.SEARCH
        else:
            tied.append(record)
    messages = {(message(record), record.key_arns[0]) for record in tied}
    if len(messages) > 1:
        for record in tied:
            reasons[record.event_id] = (
                "the calls of this build opened different messages, so not each was of this build"
            )
        return [], Need.READ_AGAIN
    return tied, need


def _reads(given: Sequence[Record], claim: Claim) -> list[Read]:
    """The calls known to be of this build: the prover's own, and those whose record says so."""
    recorded = [
        Read(record.time, record.time, record.principal_arn, record.request_id)
        for record in given
        if record.source == IMAGE_BUILDER
        and record.name == GET_WORKFLOW
        and record.principal_arn is not None
        and not record.failed
        and foreign_place(record, claim) is None
        and _workflows_named(record) == {claim.workflow_build_arn}
    ]
    return [*claim.reads, *recorded]


def _may_own(read: Read, record: Record, claim: Claim) -> bool:
    return (
        read.principal_arn == record.principal_arn
        and read.since - claim.clock_skew <= record.time <= read.until + claim.clock_skew
    )


def _near(stranger: Record, record: Record, claim: Claim) -> bool:
    same_caller = stranger.principal_arn is None or stranger.principal_arn == record.principal_arn
    return same_caller and abs(stranger.time - record.time) <= claim.clock_skew


def _has_rival(
    record: Record, owners: Sequence[Read], rivals: Sequence[Record], claim: Claim
) -> bool:
    """Whether one of the calls that may own `record` may own another message as well."""
    return any(
        message(other) != message(record) and _may_own(read, other, claim)
        for read in owners
        for other in rivals
    )


def _may_read_another_build(record: Record, claim: Claim) -> bool:
    """Whether an Image Builder record may be of a call that opened another build of the version.

    It may unless it was refused, is the prover's own, or names workflows none of which can be
    another build of this version. A record that names no workflow may be of any.
    """
    if record.source != IMAGE_BUILDER or record.name not in READERS:
        return False
    if foreign_place(record, claim) is not None or record.error_code == "AccessDenied":
        return False
    own = {read.request_id for read in claim.reads if read.request_id is not None}
    if record.name == GET_WORKFLOW and record.request_id in own:
        return False
    named = _workflows_named(record)
    return not named or any(_may_be_another_build(arn, claim) for arn in named)


def _workflows_named(record: Record) -> set[str]:
    """The workflow ARNs in the request, whatever they are called there."""
    # The form of these records is not documented: an ARN may be percent-encoded, as in the URL.
    strings = (unquote(text) for text in _strings(record.request_parameters))
    return {text for text in strings if _ANY_WORKFLOW.match(text)}


def _strings(value: Mapping[str, Any] | Sequence[Any] | object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _may_be_another_build(arn: str, claim: Claim) -> bool:
    """Whether `arn`, perhaps with x wildcards or without a build, covers another build."""
    if arn == claim.workflow_build_arn:
        return False
    ours = claim.workflow_build_arn.lower().split("/")
    theirs = arn.lower().split("/")
    if len(theirs) not in (4, 5) or theirs[:3] != ours[:3]:
        # Another workflow altogether; an ARN of an unknown form may be anything.
        return len(theirs) not in (4, 5)
    numbers, wanted = theirs[3].split("."), ours[3].split(".")
    return len(numbers) != len(wanted) or all(
        number in ("x", own) for number, own in zip(numbers, wanted, strict=True)
    )
