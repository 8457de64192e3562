"""Which GenerateDataKey and Decrypt records can speak for a version, whatever their key."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from keyrunbook.proof.claim import KEY_ARN, Claim
from keyrunbook.records import IMAGE_BUILDER, KMS, Record

ARN_KEY: Final = "aws:imagebuilder:arn"
MESSAGE_KEY: Final = "aws-crypto-public-key"
GENERATE: Final = "GenerateDataKey"
DECRYPT: Final = "Decrypt"


def candidate(record: Record) -> bool:
    return record.source == KMS and record.name in (GENERATE, DECRYPT)


def unsound(record: Record, claim: Claim) -> str | None:
    """Why a GenerateDataKey or Decrypt record cannot speak for this version, whatever its key."""
    return _of_another(record, claim) or _no_message(record) or _unclear_key(record, claim)


def in_the_way(record: Record, claim: Claim) -> bool:
    """Whether a record speaks for this version, or would if it told its message and one key.

    One that does not tell them counts for nothing, but another must not be taken for its like.
    """
    return candidate(record) and _of_another(record, claim) is None


def _of_another(record: Record, claim: Claim) -> str | None:
    return (
        foreign_place(record, claim)
        or _not_served(record)
        or _other_context(record, claim)
        or _wrong_time(record, claim)
    )


def foreign_place(record: Record, claim: Claim) -> str | None:
    if record.account != claim.account:
        return f"recorded in account {record.account}, not in {claim.account}"
    if record.region != claim.region:
        return f"recorded in Region {record.region}, not in {claim.region}"
    return None


def _not_served(record: Record) -> str | None:
    if record.dry_run:
        return "a dry run: KMS made or opened no key"
    if record.failed:
        return f"the call failed: {record.error_code or record.error_message or 'no error code'}"
    if record.invoked_by != IMAGE_BUILDER:
        who = f"by {record.invoked_by}" if record.invoked_by else "by no AWS service"
        return f"not invoked by Image Builder, but {who}"
    return None


def _other_context(record: Record, claim: Claim) -> str | None:
    context = record.encryption_context
    if context is None:
        return "the record holds no encryption context"
    found = context.get(ARN_KEY)
    if found is None:
        alike = [key for key in context if key.lower() == ARN_KEY]
        if alike:
            return f"the context's key {alike[0]} differs from {ARN_KEY} in letter case"
        return f"the encryption context has no {ARN_KEY}"
    if found != claim.context_arn:
        if found.lower() == claim.context_arn.lower():
            return f"the context's ARN {found} differs in letter case"
        return f"the encryption context is of {found}"
    return None


def _no_message(record: Record) -> str | None:
    if not (record.encryption_context or {}).get(MESSAGE_KEY):
        return f"the encryption context has no {MESSAGE_KEY}, so it tells no messages apart"
    return None


def _unclear_key(record: Record, claim: Claim) -> str | None:
    if len(set(record.key_arns)) != 1:
        return "the record names no key" if not record.key_arns else "the record names several keys"
    used = record.key_arns[0]
    if KEY_ARN.fullmatch(used) is None:
        return f"what the record names is no key: {used}"
    if _partition_and_region(used) != _partition_and_region(claim.workflow_build_arn):
        return f"the record names a key of another partition or Region: {used}"
    passed = record.key_id_as_passed
    if passed is not None and KEY_ARN.fullmatch(passed) and passed != record.key_arns[0]:
        return f"the record contradicts itself: asked for {passed}, used {record.key_arns[0]}"
    return None


def _partition_and_region(arn: str) -> tuple[str, str]:
    _, partition, _, region, *_ = arn.split(":")
    return partition, region


def _wrong_time(record: Record, claim: Claim) -> str | None:
    if record.time < claim.created - claim.clock_skew:
        return f"from before this build's creation at {when(claim.created)}"
    if record.name == GENERATE and record.time > claim.created + claim.clock_skew:
        return (
            f"made after this build's creation at {when(claim.created)}: of a later build of "
            "the same version"
        )
    return None


def message(record: Record) -> frozenset[tuple[str, str]]:
    """The encryption context in full, which belongs to one message."""
    return frozenset((record.encryption_context or {}).items())


def when(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
