"""Log integrity: what is altered is refuted, what cannot be checked is said, the rest is proven."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from delivery import FIRST, HOUR, Delivery, der, hours, signer
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.errors import ParameterError
from keyrunbook.logs import (
    Checked,
    DigestFile,
    Integrity,
    LogFile,
    PublicKey,
    Wanted,
    check,
    integrity,
    keys_from,
    read_keys,
    search,
)
from keyrunbook.logs.local_digests import text_of
from log_files import ACCOUNT, REGION

PROVEN, NOT_PROVEN, REFUTED = Integrity


def checked(folder: Path, made: Delivery, **how: object) -> Checked:
    found = search([folder], hashed=True)
    return integrity(found, keys_from(made.public_keys()), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "root",
    ["AWSLogs/", "some/prefix/AWSLogs/", "AWSLogs/o-exampleorgid/", "p/AWSLogs/o-exampleorgid/"],
)
def test_what_was_delivered_is_proven_in_every_layout(tmp_path: Path, root: str) -> None:
    made, logs, _ = hours(4, root)
    made.write(tmp_path)
    answer = checked(tmp_path, made)
    assert (answer.integrity, answer.altered, answer.unchecked) == (PROVEN, (), ())
    assert answer.as_delivered == tuple(sorted(str(tmp_path / log) for log in logs))
    assert (answer.digests, answer.spans) == (4, ((FIRST, FIRST + 4 * HOUR),))
    assert "4 log files, delivered 2026-03-01T10:00:00+00:00 to 2026-03-01T14" in answer.sentence
    assert "Integrity is not completeness" in answer.sentence
    assert json.loads(json.dumps(answer.to_dict()))["integrity"] == "proven"


def test_a_flat_copy_without_metadata_proves_all_but_the_newest_digest(tmp_path: Path) -> None:
    made, logs, digests = hours(4)
    for key, content in made.objects.items():
        (tmp_path / Path(key).name).write_bytes(content)
    answer = checked(tmp_path, made)
    assert answer.integrity is NOT_PROVEN
    assert [Path(one.place).name for one in answer.unchecked] == [
        Path(digests[-1]).name,
        Path(logs[-1]).name,
    ]
    assert "has its signature in S3 only" in answer.unchecked[0].reason
    assert "in no digest that is proven" in answer.unchecked[1].reason
    assert len(answer.as_delivered) == 3
    assert "not completeness" in answer.sentence
    before = checked(tmp_path, made, until=FIRST + 3 * HOUR)
    assert before.integrity is NOT_PROVEN  # the fourth digest begins at that moment
    before = checked(tmp_path, made, until=FIRST + 2.9 * HOUR)
    assert before.integrity is PROVEN


def changed(made: Delivery, key: str) -> None:
    text = gzip.decompress(made.objects[key])
    made.objects[key] = gzip.compress(text.replace(b"s3.amazonaws", b"S3.amazonaws"), mtime=0)


def damaged(made: Delivery, key: str) -> None:
    content = bytearray(made.objects[key])
    content[len(content) // 2] ^= 4
    made.objects[key] = bytes(content)


def removed(made: Delivery, key: str) -> None:
    del made.objects[key]


def rewritten(made: Delivery, key: str) -> None:
    """The digest leaves a log file out; it has the old signature."""
    document = json.loads(gzip.decompress(made.objects[key]))
    document["logFiles"] = []
    made.objects[key] = gzip.compress(json.dumps(document).encode(), mtime=0)


def forged(made: Delivery, key: str) -> None:
    """The same, signed by another key."""
    document = json.loads(gzip.decompress(made.objects[key]))
    document["logFiles"] = []
    theirs, made.key = made.key, signer(1)
    made.put_digest(key, document)
    made.key = theirs


def other_signature(made: Delivery, key: str) -> None:
    signature = made.metadata[key]["signature"]
    made.metadata[key]["signature"] = ("0" if signature[0] != "0" else "1") + signature[1:]


def no_hex(made: Delivery, key: str) -> None:
    made.metadata[key]["signature"] = "not hexadecimal"


def truncated(made: Delivery, key: str) -> None:
    made.objects[key] = made.objects[key][:-9]


ALTERED = [
    (changed, "log", 1, "is not what was delivered"),
    (damaged, "log", 1, "is not what was delivered"),
    (truncated, "log", 1, "is not what was delivered"),
    (removed, "log", 1, "is missing: "),
    (removed, "digest", 1, "is missing: "),
    (rewritten, "digest", 1, "does not fit its signature"),
    (forged, "digest", 1, "does not fit its signature"),
    (forged, "digest", 3, "does not fit its signature"),
    (other_signature, "digest", 2, "does not fit its signature"),
    (no_hex, "digest", 2, "not hexadecimal"),
    (truncated, "digest", 1, "is not JSON"),
    (rewritten, "digest", 0, "does not fit its signature"),
]


@pytest.mark.parametrize(("how", "kind", "hour", "why"), ALTERED)
def test_what_was_altered_is_refuted_with_the_file(
    tmp_path: Path, how: Callable[[Delivery, str], None], kind: str, hour: int, why: str
) -> None:
    made, logs, digests = hours(4)
    key = (logs if kind == "log" else digests)[hour]
    how(made, key)
    made.write(tmp_path)
    answer = checked(tmp_path, made)
    assert answer.integrity is REFUTED
    assert Path(key).name in {Path(one.place).name for one in answer.altered}
    assert any(why in one.reason for one in answer.altered)
    assert answer.sentence.startswith("Integrity refuted: ")
    assert str(tmp_path / logs[hour]) not in answer.as_delivered


def test_a_removed_digest_is_told_by_the_next_one_even_without_metadata(tmp_path: Path) -> None:
    made, _, digests = hours(4)
    del made.objects[digests[1]]
    made.write(tmp_path, metadata=False)
    assert checked(tmp_path, made).integrity is REFUTED


@pytest.mark.parametrize(
    ("since", "until", "kind"),
    [(0, 1.5, REFUTED), (1.2, 1.5, REFUTED), (0, 0.5, PROVEN)],
)
def test_a_digest_that_is_missing_at_the_end_of_what_was_asked_for_is_told_by_the_next(
    tmp_path: Path, since: float, until: float, kind: Integrity
) -> None:
    made, _, digests = hours(4)
    del made.objects[digests[1]]
    made.write(tmp_path)
    answer = checked(tmp_path, made, since=FIRST + since * HOUR, until=FIRST + until * HOUR)
    assert answer.integrity is kind
    assert (digests[1] in {one.place for one in answer.altered}) is (kind is REFUTED)


def test_one_file_is_told_as_one(tmp_path: Path) -> None:
    made, _, _ = hours(1)
    made.write(tmp_path)
    assert "1 log file, delivered 2026-03-01T10:00:00+00:00 to " in checked(tmp_path, made).sentence


def test_what_is_missing_before_the_oldest_matters_where_it_was_asked_for(tmp_path: Path) -> None:
    made, logs, digests = hours(4)
    del made.objects[digests[0]], made.objects[logs[0]]
    made.write(tmp_path)
    assert checked(tmp_path, made).integrity is PROVEN
    assert checked(tmp_path, made, since=FIRST + 1.5 * HOUR).integrity is PROVEN
    answer = checked(tmp_path, made, since=FIRST)
    assert answer.integrity is REFUTED
    assert digests[0] in {one.place for one in answer.altered}


def test_what_lies_outside_what_was_asked_for_does_not_matter(tmp_path: Path) -> None:
    made, logs, digests = hours(6)
    del made.objects[logs[0]]
    changed(made, logs[5])
    rewritten(made, digests[5])
    made.write(tmp_path)
    between = {"since": FIRST + 1.5 * HOUR, "until": FIRST + 3.5 * HOUR}
    assert checked(tmp_path, made, **between).integrity is PROVEN
    assert checked(tmp_path, made).integrity is REFUTED


def test_what_a_search_left_out_is_not_missing(tmp_path: Path) -> None:
    made, logs, _ = hours(72)
    made.write(tmp_path)
    wanted = Wanted(FIRST + 30 * HOUR, FIRST + 31 * HOUR)
    found = search([tmp_path], wanted, hashed=True)
    assert found.files < len(logs)
    keys = keys_from(made.public_keys())
    assert integrity(found, keys).integrity is PROVEN
    (tmp_path / logs[30]).unlink()
    answer = integrity(search([tmp_path], wanted, hashed=True), keys)
    assert [one.place for one in answer.altered] == [logs[30]]


def test_a_wrong_key_proves_nothing(tmp_path: Path) -> None:
    made, _, _ = hours(2)
    made.write(tmp_path)
    found = search([tmp_path], hashed=True)
    for keys, why in [
        ([], "which is not given"),
        ([PublicKey(der(made.key), "another fingerprint")], "which is not given"),
        ([PublicKey(der(signer(1)), None)], "by the key given, which may be another's"),
    ]:
        answer = integrity(found, keys)
        assert (answer.integrity, answer.as_delivered) == (NOT_PROVEN, ())
        assert why in answer.unchecked[0].reason
    named_alike = [PublicKey(der(signer(1)), made.fingerprint)]
    assert integrity(found, named_alike).integrity is REFUTED
    assert integrity(found, [PublicKey(der(made.key), None)]).integrity is PROVEN


def test_a_gap_is_not_proven_and_told(tmp_path: Path) -> None:
    """Validation was off for some hours: the chain begins anew."""
    made, logs, _ = hours(2)
    later = FIRST + 9 * HOUR
    between = made.log([], FIRST + 5 * HOUR, "BETWEEN")
    made.digest(later, [], starting=True)
    made.write(tmp_path)
    answer = checked(tmp_path, made)
    assert answer.integrity is NOT_PROVEN
    assert any("begins a chain" in one.reason for one in answer.unchecked)
    assert str(tmp_path / between) in {one.place for one in answer.unchecked}
    assert answer.spans == ((FIRST, FIRST + 2 * HOUR), (later - HOUR, later))
    assert set(answer.as_delivered) == {str(tmp_path / log) for log in logs}


def test_a_backfill_digest_vouches_for_files_that_came_late(tmp_path: Path) -> None:
    made, _, _ = hours(2)
    late = made.log([], FIRST + 0.6 * HOUR, "LATE")
    made.write(tmp_path)
    assert checked(tmp_path, made).integrity is NOT_PROVEN
    made.digest(FIRST + HOUR, [late], backfill=True)
    made.write(tmp_path)
    answer = checked(tmp_path, made)
    assert (answer.integrity, len(answer.as_delivered)) == (PROVEN, 3)


def test_an_added_file_is_in_no_digest(tmp_path: Path) -> None:
    made, logs, _ = hours(3)
    added = made.log([{"forged": True}], FIRST + 1.6 * HOUR, "ADDED")
    made.write(tmp_path)
    answer = checked(tmp_path, made)
    assert answer.integrity is NOT_PROVEN
    assert answer.unchecked == ((str(tmp_path / added), "is in no digest that is proven"),)
    assert len(answer.as_delivered) == len(logs)


def test_copies_are_each_compared(tmp_path: Path) -> None:
    made, logs, _ = hours(2)
    made.write(tmp_path / "a")
    made.write(tmp_path / "b", metadata=False)
    assert checked(tmp_path, made).integrity is PROVEN
    changed(made, logs[0])
    made.write(tmp_path / "b")
    answer = checked(tmp_path, made)
    assert answer.integrity is REFUTED
    assert [one.place for one in answer.altered] == [str(tmp_path / "b" / logs[0])]


def test_digests_of_another_region_need_no_key_where_they_were_not_asked_for(
    tmp_path: Path,
) -> None:
    """Each Region's digests are signed by a key of its own."""
    made, _, _ = hours(2)
    made.write(tmp_path)
    other = Delivery(region="us-east-1", fingerprint="of another Region's key", key=signer(1))
    other.digest(FIRST + HOUR, [], starting=True)
    other.write(tmp_path)
    keys = keys_from(made.public_keys())
    assert integrity(search([tmp_path], hashed=True), keys).integrity is NOT_PROVEN
    wanted = Wanted(account=ACCOUNT, region=REGION)
    assert integrity(search([tmp_path], wanted, hashed=True), keys).integrity is PROVEN


def test_without_digests_nothing_is_proven(tmp_path: Path) -> None:
    made, logs, digests = hours(2)
    for key in digests:
        del made.objects[key]
    made.write(tmp_path)
    answer = checked(tmp_path, made)
    assert answer.integrity is NOT_PROVEN
    assert "nothing vouches" in answer.unchecked[0].reason
    assert answer.as_delivered == ()
    assert logs


def test_what_comes_after_the_newest_digest_is_told_where_it_was_asked_for(tmp_path: Path) -> None:
    made, _, _ = hours(2)
    made.write(tmp_path)
    answer = checked(tmp_path, made, until=FIRST + timedelta(days=1))
    assert answer.integrity is NOT_PROVEN
    assert "covers nothing after 2026-03-01T12:00:00+00:00" in answer.unchecked[0].reason


@pytest.mark.parametrize("algorithm", ["SHA512withRSA", "none"])
def test_an_algorithm_that_is_not_known_is_not_checked(tmp_path: Path, algorithm: str) -> None:
    made, _, digests = hours(2)
    made.metadata[digests[1]]["signature-algorithm"] = algorithm
    made.write(tmp_path)
    assert checked(tmp_path, made).integrity is NOT_PROVEN


def test_a_search_without_hashes_cannot_be_judged(tmp_path: Path) -> None:
    made, _, _ = hours(1)
    made.write(tmp_path)
    with pytest.raises(ValueError, match="hashed=True"):
        integrity(search([tmp_path]), [])


def test_public_keys_come_from_aws_s_answer_or_from_one_key_s_file(tmp_path: Path) -> None:
    made, _, _ = hours(1)
    path = tmp_path / "keys"
    path.write_text(json.dumps(made.public_keys()))
    assert [key.fingerprint for key in read_keys(path)] == [made.fingerprint]
    path.write_bytes(der(made.key))
    assert [key.fingerprint for key in read_keys(path)] == [None]
    boto3s = {"PublicKeyList": [{"Value": der(made.key), "Fingerprint": "f"}]}
    assert [key.fingerprint for key in keys_from(boto3s)] == ["f"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"{", b"no key", b'{"PublicKeyList": [{"Value": "!", "Fingerprint": "f"}]}'],
)
def test_what_is_no_public_key_is_an_error_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ParameterError, match="holds no public key") as caught:
        read_keys(tmp_path / "keys")
    assert "list-public-keys" in caught.value.fix
    with pytest.raises(ParameterError, match="cannot be read"):
        read_keys(tmp_path / "nowhere")


BUCKET, LOGS, DIGESTS = hours(4)


@given(st.data())
def test_no_change_of_a_byte_and_no_removal_is_ever_proven(data: st.DataObject) -> None:
    """Whatever is done to one object's text or signature, or with one object taken away."""
    objects = {key: gzip.decompress(content) for key, content in BUCKET.objects.items()}
    signatures = {key: one["signature"] for key, one in BUCKET.metadata.items()}
    key = data.draw(st.sampled_from(sorted(objects)))
    what = data.draw(st.sampled_from(["byte", "removal", "signature", "cut"]))
    at = data.draw(st.integers(0, len(objects[key]) - 1))
    if what == "byte":
        text = bytearray(objects[key])
        text[at] ^= data.draw(st.integers(1, 255))
        objects[key] = bytes(text)
    elif what == "removal":
        del objects[key]
    elif what == "cut":
        objects[key] = objects[key][:at]
    else:
        key = data.draw(st.sampled_from(DIGESTS))
        signatures[key] = signatures[data.draw(st.sampled_from([k for k in DIGESTS if k != key]))]
    answer = check(
        [DigestFile(k, objects[k], signatures[k]) for k in DIGESTS if k in objects],
        [LogFile(k, hashlib.sha256(objects[k]).hexdigest()) for k in LOGS if k in objects],
        keys_from(BUCKET.public_keys()),
        since=FIRST,
        until=FIRST + 4 * HOUR,
    )
    assert answer.integrity is not PROVEN
    assert key not in answer.as_delivered


@given(st.data())
def test_a_damaged_digest_has_another_text_or_none(data: st.DataObject) -> None:
    packed = bytearray(BUCKET.objects[DIGESTS[0]])
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    text = text_of(bytes(packed))
    assert text in (b"", bytes(packed), gzip.decompress(BUCKET.objects[DIGESTS[0]]))


def test_a_digest_file_that_is_damaged_has_no_text() -> None:
    packed = gzip.compress(b"{}")
    assert (text_of(packed), text_of(b"{}")) == (b"{}", b"{}")
    assert text_of(packed[:-1]) == text_of(packed[:-8] + bytes(8)) == b""
