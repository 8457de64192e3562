"""The judge: finds what the records show, and weighs it against the claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from keyrunbook.proof.claim import KEY_ARN, NOT_READ, Claim
from keyrunbook.proof.searched import Searched
from keyrunbook.proof.sound import (
    DECRYPT,
    GENERATE,
    candidate,
    in_the_way,
    message,
    unsound,
    when,
)
from keyrunbook.proof.tied import tied_decrypts
from keyrunbook.proof.verdict import Clause, Need, Outcome, Rejected, Verdict
from keyrunbook.records import KMS, Record, by_event_id, order


def prove(records: Iterable[Record], claim: Claim, searched: Searched) -> Verdict:
    """Judge `claim` by `records`, which `searched` says how they were got.

    Neither the order of the records nor their repetition matters.
    """
    given, at_odds = _once_and_at_odds(records)
    given, corrected, reasons = _corrected(given, at_odds)
    set_aside = [*at_odds, *corrected]
    sound: list[Record] = []
    for record in given:
        if not candidate(record):
            continue
        reason = unsound(record, claim)
        if reason is None:
            sound.append(record)
        else:
            reasons[record.event_id] = reason
    made = [r for r in (*given, *set_aside) if r.name == GENERATE and in_the_way(r, claim)]
    tied, need = tied_decrypts(sound, given, set_aside, claim, searched, reasons)
    found = _Found(
        claim,
        searched,
        generated=[record for record in sound if record.name == GENERATE],
        decrypts=[record for record in sound if record.name == DECRYPT],
        made=made,
        tied=tied,
        need=need,
    )
    encrypted, readable = _clauses(found)
    used = {record.event_id for clause in (encrypted, readable) for record in clause.records}
    rejected = [
        Rejected(record, reasons.get(record.event_id) or _unused(record, found))
        for record in (*given, *corrected)
        if candidate(record) and record.event_id not in used
    ]
    rejected += [
        Rejected(record, "another record with the same event id says something else")
        for record in at_odds
        if candidate(record)
    ]
    return Verdict(
        outcome=readable.outcome if claim.only_readable else _both(encrypted, readable),
        encrypted=encrypted,
        readable=readable,
        rejected=tuple(sorted(rejected, key=lambda item: order(item.record))),
        claim=claim,
        searched=searched,
    )


def _both(encrypted: Clause, readable: Clause) -> Outcome:
    outcomes = {encrypted.outcome, readable.outcome}
    if Outcome.REFUTED in outcomes:
        return Outcome.REFUTED
    return Outcome.PROVED if outcomes == {Outcome.PROVED} else Outcome.NOT_YET


def _once_and_at_odds(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Each record once, oldest first; and apart those that share an event id but not content."""
    given = by_event_id(records).values()
    once = [same[0] for same in given if len(same) == 1]
    at_odds = [record for same in given if len(same) > 1 for record in same]
    return sorted(once, key=order), sorted(at_odds, key=order)


def _corrected(
    given: Sequence[Record], at_odds: Sequence[Record]
) -> tuple[list[Record], list[Record], dict[str, str]]:
    """Apart, those that a later record corrects, and by which: they may have a wrong value."""
    by = {one.corrects: one.event_id for one in (*given, *at_odds) if one.corrects is not None}
    kept = [record for record in given if record.event_id not in by]
    corrected = [record for record in given if record.event_id in by]
    reasons = {one.event_id: f"the record {by[one.event_id]} corrects it" for one in corrected}
    return kept, corrected, reasons


@dataclass(frozen=True, slots=True)
class _Found:
    """What the records show, before it is weighed against the claim.

    `generated` are the sound data keys, `made` those too that count for nothing.
    """

    claim: Claim
    searched: Searched
    generated: list[Record]
    decrypts: list[Record]
    made: list[Record]
    tied: list[Record]
    need: Need

    def permitted(self, record: Record) -> bool:
        allowed = self.claim.permitted_principals
        return allowed is None or record.caller in allowed

    def opened(self, *, by_this_key: bool) -> list[Record]:
        return [
            record
            for record in self.tied
            if (record.key_arns[0] == self.claim.key_arn) is by_this_key
        ]

    def shown(self) -> list[Record]:
        """The tied Decrypts under the claim's key, by permitted principals."""
        return [record for record in self.opened(by_this_key=True) if self.permitted(record)]


def _pair(generated: Sequence[Record], decrypts: Sequence[Record]) -> tuple[Record, Record] | None:
    """The oldest data key and the oldest later Decrypt of one message under one key."""
    return next(
        (
            (made, opened)
            for made in generated
            for opened in decrypts
            if message(made) == message(opened)
            and made.key_arns[0] == opened.key_arns[0]
            and made.time <= opened.time
        ),
        None,
    )


def _clauses(found: _Found) -> tuple[Clause, Clause]:
    refuted = _refuted_by_name(found.claim) or _refuted_by_pair(found)
    if refuted is not None:
        reason, records = refuted
        return (
            Clause("encrypted", Outcome.REFUTED, reason, records),
            Clause("readable", Outcome.REFUTED, reason, records),
        )
    return _encrypted(found), _readable(found)


def _refuted_by_name(claim: Claim) -> tuple[str, tuple[Record, ...]] | None:
    named = claim.kms_key_id
    if named is None:
        return "GetWorkflow names no key for this build.", ()
    if isinstance(named, str) and KEY_ARN.fullmatch(named) and named != claim.key_arn:
        return f"GetWorkflow names another key for this build: {named}.", ()
    return None


def _refuted_by_pair(found: _Found) -> tuple[str, tuple[Record, ...]] | None:
    pair = _pair(found.generated, found.opened(by_this_key=False))
    if pair is None:
        return None
    made, _ = pair
    if _others_made(found, made):
        return None
    return f"This build's data key was made, and opened, under {made.key_arns[0]}.", pair


def _others_made(found: _Found, shown: Record) -> bool:
    """Whether data keys of other messages than the one of `shown` were made at the creation.

    Then one of the records that would tell the builds apart may be missing. Only GetWorkflow's own
    word, a key ARN, outweighs that: a wrong "no" is as bad as a wrong "yes".
    """
    return any(message(other) != message(shown) for other in found.made)


_ALIAS_IS_TOO_LITTLE: Final = (
    "GetWorkflow names an alias, and data keys of several builds of this version were made at the "
    "same time, so a lost record could make one look like another.",
    Need.NOTHING,
)


def _alias_is_too_little(found: _Found, shown: Record) -> bool:
    """Whether GetWorkflow names no key ARN, and `shown` may be of another build."""
    return found.claim.kms_key_id != found.claim.key_arn and _others_made(found, shown)


def _encrypted(found: _Found) -> Clause:
    def not_yet(reason: str, need: Need) -> Clause:
        return Clause("encrypted", Outcome.NOT_YET, reason, need=need)

    opened = found.shown()
    if not opened:
        return not_yet(*_no_decrypt(found))
    pair = _permitted_pair(found)
    if pair is not None:
        if found.claim.kms_key_id is NOT_READ:
            return not_yet(*_name_not_read())
        if _alias_is_too_little(found, pair[0]):
            return not_yet(*_ALIAS_IS_TOO_LITTLE)
        return Clause(
            "encrypted",
            Outcome.PROVED,
            "Image Builder made this build's data key under this key, and opened it with it."
            + _by_alias(found.claim),
            pair,
        )
    return not_yet(*_no_data_key(found))


def _readable(found: _Found) -> Clause:
    opened = found.shown()
    if not opened:
        reason, need = _no_decrypt(found)
        return Clause("readable", Outcome.NOT_YET, reason, need=need)
    if found.claim.kms_key_id is NOT_READ:
        reason, need = _name_not_read()
        return Clause("readable", Outcome.NOT_YET, reason, need=need)
    if _alias_is_too_little(found, opened[0]):
        reason, need = _ALIAS_IS_TOO_LITTLE
        return Clause("readable", Outcome.NOT_YET, reason, need=need)
    pair = _permitted_pair(found)
    shown = pair[1] if pair is not None else opened[0]
    return Clause(
        "readable",
        Outcome.PROVED,
        "Image Builder opened this build's data key with this key." + _by_alias(found.claim),
        (shown,),
    )


def _permitted_pair(found: _Found) -> tuple[Record, Record] | None:
    generated = [record for record in found.generated if found.permitted(record)]
    return _pair(generated, found.shown())


def _by_alias(claim: Claim) -> str:
    """What an alias adds to a sentence: it names a key now, the records say which one was used."""
    if claim.kms_key_id == claim.key_arn:
        return ""
    now = {None: "no key", claim.key_arn: "this key"}.get(claim.resolved_key_arn, "another key")
    return (
        f" (GetWorkflow names {claim.kms_key_id}, which names {now} now; the records show the key "
        "that was used.)"
    )


def _name_not_read() -> tuple[str, Need]:
    return "GetWorkflow could not be asked which key this build names.", Need.SEARCH


def _no_decrypt(found: _Found) -> tuple[str, Need]:
    """Why no Decrypt speaks for the claim, and what would help."""
    seen = f"in {found.searched.source} up to {when(found.searched.until)}"
    if found.opened(by_this_key=True):
        return "this build was opened, but not by a permitted principal.", Need.READ_AGAIN
    if found.tied:
        return (
            f"this build was opened with {found.tied[0].key_arns[0]}, and the record of the data "
            f"key that would settle it was not seen {seen}, or is not the only one there.",
            Need.WAIT,
        )
    if found.decrypts:
        return "no Decrypt record can be tied to this build and to no other.", found.need
    if not found.claim.reads and found.need is Need.READ_AGAIN:
        return (
            "no GetWorkflow call of this build is known to which a Decrypt could be tied.",
            Need.READ_AGAIN,
        )
    claim, skew = found.claim, found.claim.clock_skew
    asked = all(
        found.searched.covers(
            KMS,
            DECRYPT,
            read.since - skew,
            min(read.until + skew, max(found.searched.at, read.since - skew)),
        )
        for read in claim.reads
    )
    if not asked:
        why = found.searched.why_incomplete or "it was not asked for their times."
        return (
            f"the Decrypt records of this build's reads were not all searched {seen}: {why}",
            Need.SEARCH,
        )
    return f"no Decrypt record of this build's reads was seen {seen}.", Need.WAIT


def _no_data_key(found: _Found) -> tuple[str, Need]:
    """Why no GenerateDataKey makes a pair with the Decrypt that is shown, and what would help."""
    claim, searched = found.claim, found.searched
    messages = {message(opened) for opened in found.shown()}
    alike = [made for made in found.generated if message(made) in messages]
    if alike:
        return f"its GenerateDataKey record does not count: {_unused(alike[0], found)}.", Need.WAIT
    since, until = claim.created - claim.clock_skew, claim.created + claim.clock_skew
    asked = searched.covers(KMS, GENERATE, since, min(until, max(searched.at, since)))
    return (
        "no GenerateDataKey record with the encryption context of this build's Decrypt was seen "
        f"in {searched.source} up to {when(searched.until)}"
        + ("." if asked else ", which was not asked, or did not answer in full, for its creation."),
        Need.WAIT if asked else Need.SEARCH,
    )


_NOT_COUNTED: Final = (
    "it belongs to this build, and counts once GetWorkflow is asked which key the build names"
)


def _unused(record: Record, found: _Found) -> str:
    """Why a sound record is not among those that the verdict rests on."""
    if record.key_arns[0] != found.claim.key_arn:
        return f"under another key, {record.key_arns[0]}"
    if not found.permitted(record):
        return f"called by {record.caller}, who is not among the permitted principals"
    if record.name == GENERATE:
        opened = [one.time for one in found.tied if message(one) == message(record)]
        if opened and record.time > max(opened):
            return "it is younger than each Decrypt of its message"
        if opened and found.claim.kms_key_id is NOT_READ:
            return _NOT_COUNTED
        if opened:
            return "it belongs to this build, and an older record already shows it"
        return "no later Decrypt of the same message is tied to this build"
    if record in found.tied and found.claim.kms_key_id is NOT_READ:
        return _NOT_COUNTED
    if record in found.tied:
        return "it belongs to this build, and the verdict needs no more of its kind"
    return "not tied to this build"
