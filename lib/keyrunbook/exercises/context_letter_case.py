"""Who may decrypt cannot, because the encryption context differs by letter case."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyrunbook import policies
from keyrunbook.exercises import seen, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding
from keyrunbook.proof import ARN_KEY
from keyrunbook.records import Record

READER: Final = "BuildTools"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told. `ciphertext` is in base64; `true_context` is not told."""

    key_arn: str
    reader: str
    ciphertext: str
    wiki_context: Mapping[str, str]
    true_context: Mapping[str, str] = field(repr=False)
    key_policy: Mapping[str, Any] = field(repr=False)


def situation(account: Account) -> Facts:
    """A script keeps a value under a workflow's ARN; the wiki spells its name with capitals."""
    clients = account.administrator
    key = stage.a_key(account)
    pattern = policies.workflow_pattern(account.partition, account.number)
    condition = {"StringLike": {policies.CONTEXT_KEY: pattern}}
    may = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key, "Condition": condition}
    account.add_user(READER, may)
    place = f"arn:{account.partition}:imagebuilder:{clients.region}:{account.number}"
    context = {ARN_KEY: f"{place}:workflow/build/golden-image/1.0.0/*"}
    answer = clients("kms").encrypt(
        KeyId=key, Plaintext=b"Signed by the images team", EncryptionContext=context
    )
    return Facts(
        key,
        READER,
        b64encode(answer["CiphertextBlob"]).decode(),
        {ARN_KEY: context[ARN_KEY].replace("golden-image", "Golden-Image")},
        context,
        stage.key_policy(account, key),
    )


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """The reader decrypted it, by CloudTrail, and nobody was given more."""
    account, facts = exercise.account, exercise.facts
    tried = [
        one
        for one in seen.records(account.administrator, "Decrypt")
        if one.invoked_by is None and not one.dry_run
    ]
    done = [one for one in tried if not one.failed and facts.key_arn in one.key_arns]
    own = [one for one in done if seen.short(one.principal_arn) == f"user/{READER}"]
    said = "CloudTrail has its Decrypt" if own else _why_not(done, tried, facts)
    return [
        seen.judged(f"{READER} has decrypted it", bool(own), said, said),
        seen.same_policy(account, facts.key_arn, facts.key_policy),
    ]


def _why_not(done: list[Record], tried: list[Record], facts: Facts) -> str:
    if done:
        return f"{seen.short(done[0].principal_arn)} has, which shows the context but is not asked"
    if not tried:
        return "CloudTrail has no Decrypt so far"
    last = tried[0]
    given = last.encryption_context
    if last.error_code == "AccessDenied":
        return (
            "the last Decrypt was refused as a permission (AccessDenied): the condition on the "
            "context did not hold"
        )
    if given is not None and _lower(given) == _lower(facts.true_context):
        return (
            f"the last Decrypt was permitted, and failed all the same ({last.error_code}): its "
            "context differs by letter case from the one at encryption"
        )
    under = f"the context {dict(given)}" if given else "no context"
    return f"the last Decrypt failed with {last.error_code}, under {under}"


def _lower(context: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value.lower() for name, value in context.items()}


def solution(exercise: Exercise[Facts]) -> None:
    """CloudTrail has the context of the Encrypt, letter by letter."""
    import json
    from base64 import b64decode

    facts = exercise.facts
    events = exercise.client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "Encrypt"}]
    )["Events"]
    context = json.loads(events[0]["CloudTrailEvent"])["requestParameters"]["encryptionContext"]
    exercise.client("kms", facts.reader).decrypt(
        CiphertextBlob=b64decode(facts.ciphertext), EncryptionContext=context
    )


LESSON = Lesson(
    title="Permitted, and still it does not decrypt",
    minutes=7,
    learn="InvalidCiphertextException is cryptography, AccessDenied is permission; the context is "
    "in CloudTrail",
    task=f"decrypt the ciphertext as {READER}. The wiki has the encryption context; something in "
    "it is wrong. Leave the key's policy as it is.",
    situation=situation,
    check=check,
    moral="The context is part of what was encrypted: at Decrypt it must be the same, letter by "
    "letter, and no permission helps. Image Builder writes names in small letters. (The name in a "
    "condition, kms:EncryptionContext:…, is compared without regard to case; the context is not.)",
    hints=(
        "Decrypt with the wiki's context, and look at the error's code. Is it one of permissions?",
        "InvalidCiphertextException: KMS let you in, and the ciphertext does not fit. So the "
        "key's policy is not what is wrong; what you gave beside the ciphertext is.",
        "Whoever encrypted it sent the context to KMS, and CloudTrail keeps it: look up the "
        "event Encrypt, and read requestParameters.encryptionContext letter by letter.",
    ),
    solution=solution,
)
