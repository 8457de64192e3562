"""The proof from log files that were meant to fool it: no false PROVED, no false REFUTED.

First the whole table of the proof, written to files; then what can be done to files; then a machine
that does to a true log whatever it likes, and says after each thing which verdicts are allowed.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from keyrunbook.logs import Found, search
from keyrunbook.proof import Claim, Outcome, Searched, Verdict, prove
from log_files import ACCOUNT, REGION, name_of, text_of, write
from test_proof import TABLE, claim_of, log_of
from true_logs import KEY, NAMES, READ, REMOVED, Document, change, claim, true_log

DELIVERED = READ + timedelta(minutes=5)
PROVED, REFUTED, NOT_YET = Outcome
UNRELATED = {
    "eventVersion": "1.11",
    "eventID": "unrelated",
    "eventTime": "2023-11-21T20:00:00Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "PutObject",
    "awsRegion": REGION,
}


def judged(folder: Path, asked: Claim) -> tuple[Verdict, Found]:
    found = search([folder], workers=1)
    return prove(found.records, asked, found.searched), found


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case["title"])
def test_the_table_of_the_proof_through_files(tmp_path: Path, case: dict[str, Any]) -> None:
    """The verdict from files is that from the records themselves, in whatever files they lie.

    Where the case limits the search, files know more: then the verdict may only be surer.
    """
    records = list(log_of(case).values())
    random.Random(case["title"]).shuffle(records)
    asked = claim_of(case.get("claim", {}))
    around = [UNRELATED | {"eventTime": f"2023-11-21T{hour}:00:00Z"} for hour in ("19", "23")]
    documents = [*around, *(dict(record.raw) for record in records)]
    for number in range(3):
        part = documents[number::3]
        write(tmp_path / name_of(DELIVERED + timedelta(hours=5), f"{number}"), text_of(part))
    verdict, found = judged(tmp_path, asked)
    assert found.searched.malformed == ()
    (span,) = found.searched.spans
    whole = Searched("the records", (span,), found.searched.at)
    assert verdict.outcome is prove(records, asked, whole).outcome
    if not case.get("searched"):
        assert verdict.outcome.value in (case["expect"]["verdict"], "NOT_YET")
        told = {record.event_id for record in found.records}
        assert {*verdict.events} <= told


# --- what can be done to files --------------------------------------------------------------------

TRUE = true_log()
Files = dict[str, bytes]


def packed(*records: Document) -> bytes:
    return gzip.compress(text_of(records), mtime=0)


def altered(name: str, **changes: Any) -> Document:
    document = copy.deepcopy(TRUE[name])
    change(document, {path.replace("__", "/"): value for path, value in changes.items()})
    return document


def nested(name: str) -> Document:
    """A record of somebody's script that holds a true-looking one."""
    forger = altered("get", eventSource="s3.amazonaws.com", eventName="PutObject")
    return forger | {"eventID": f"script {name}", "requestParameters": {"Records": [TRUE[name]]}}


def in_a_string(name: str) -> Document:
    forger = altered("get", eventSource="s3.amazonaws.com", eventName="PutObject")
    text = '"},' + json.dumps(TRUE[name]) + ',{"'
    return forger | {"eventID": f"script {name}", "requestParameters": {"text": text}}


def escaped(*records: Document) -> bytes:
    text = text_of(records).decode()
    for word in ("imagebuilder", "kms", "Decrypt", "GenerateDataKey"):
        text = text.replace(word, "".join(f"\\u{ord(c):04X}" for c in word))
    return gzip.compress(text.encode(), mtime=0)


A, B, C = (name_of(DELIVERED, mark) for mark in "ABC")
LATE = name_of(DELIVERED + timedelta(hours=20), "L")
CREATE, GENERATE, GET, DECRYPT = (TRUE[name] for name in ("create", "generate", "get", "decrypt"))
ALL = (CREATE, GENERATE, GET, DECRYPT)
BEGIN = UNRELATED | {"eventTime": "2023-11-21T20:30:00Z"}
HALF = packed(*ALL)[: len(packed(*ALL)) // 2]

FILES: list[tuple[str, Files, set[Outcome]]] = [
    ("one file", {A: packed(*ALL)}, {PROVED}),
    (
        "a file a record",
        {A: packed(CREATE, GENERATE), B: packed(GET), C: packed(DECRYPT)},
        {PROVED},
    ),
    ("reordered within the file", {A: packed(*ALL[::-1])}, {PROVED}),
    (
        "the Decrypt delivered first",
        {A: packed(CREATE, DECRYPT, GET), LATE: packed(GENERATE)},
        {PROVED},
    ),
    ("delivered twenty hours late", {LATE: packed(*ALL)}, {PROVED}),
    ("each file twice", {A: packed(*ALL), f"copy/{A}": packed(*ALL)}, {PROVED}),
    ("each record twice", {A: packed(*ALL, *ALL)}, {PROVED}),
    ("spelled in escapes", {A: escaped(*ALL)}, {PROVED}),
    ("not compressed", {A[:-3]: text_of(ALL)}, {PROVED}),
    (
        "in three gzip members",
        {
            A: b"".join(
                gzip.compress(p)
                for p in (text_of(ALL)[:9], text_of(ALL)[9:2000], text_of(ALL)[2000:])
            )
        },
        {PROVED},
    ),
    ("no file of the Decrypt", {A: packed(CREATE, GENERATE), B: packed(GET)}, {NOT_YET}),
    ("no file of the data key", {A: packed(CREATE), B: packed(GET, DECRYPT)}, {NOT_YET}),
    ("no file of the read", {A: packed(CREATE, GENERATE), C: packed(DECRYPT)}, {NOT_YET}),
    (
        "the Decrypt's file cut short",
        {A: packed(CREATE, GENERATE, GET), B: packed(DECRYPT)[:-5]},
        {NOT_YET},
    ),
    ("half of the only file", {A: HALF}, {NOT_YET}),
    ("another file cut short, which may hold another read", {A: packed(*ALL), B: HALF}, {NOT_YET}),
    ("a file that is not JSON beside it", {A: packed(*ALL), B: b"not JSON"}, {NOT_YET}),
    ("an empty file beside it", {A: packed(*ALL), B: b""}, {NOT_YET}),
    ("garbage behind the only file", {A: packed(*ALL) + b"garbage garbage"}, {NOT_YET}),
    (
        "a malformed record among them",
        {A: packed(*ALL, altered("get", eventTime="noon"))},
        {NOT_YET},
    ),
    (
        "a malformed Decrypt",
        {A: packed(CREATE, GENERATE, GET, altered("decrypt", resources="x"))},
        {NOT_YET},
    ),
    (
        "the Decrypt nested in another record",
        {A: packed(CREATE, GENERATE, GET, nested("decrypt"))},
        {NOT_YET},
    ),
    (
        "the data key nested in another record",
        {A: packed(CREATE, nested("generate"), GET, DECRYPT)},
        {NOT_YET},
    ),
    (
        "the Decrypt inside a string",
        {A: packed(CREATE, GENERATE, GET, in_a_string("decrypt"))},
        {NOT_YET},
    ),
    (
        "the data key inside a string",
        {A: packed(CREATE, in_a_string("generate"), GET, DECRYPT)},
        {NOT_YET},
    ),
    (
        "the Decrypt beside the list",
        {
            A: gzip.compress(
                text_of(ALL[:3])[:-1] + b',"More":[' + json.dumps(DECRYPT).encode() + b"]}"
            )
        },
        {NOT_YET},
    ),
    (
        "two lists of records",
        {A: gzip.compress(text_of(ALL[:3])[:-1] + b"," + text_of([DECRYPT])[1:])},
        {NOT_YET},
    ),
    (
        "the Decrypt in a list of its own",
        {A: gzip.compress(text_of(ALL[:3])[:-2] + b",[" + json.dumps(DECRYPT).encode() + b"]]}")},
        {NOT_YET},
    ),
    (
        "the same event, told in two ways",
        {A: packed(*ALL), B: packed(altered("decrypt", errorCode="AccessDenied"))},
        {NOT_YET},
    ),
    (
        "the same event, in a later file with another key",
        {A: packed(*ALL), LATE: packed(altered("generate", resources__0__ARN="$OTHER_KEY"))},
        {NOT_YET},
    ),
    (
        "a field given twice",
        {
            A: gzip.compress(
                text_of(ALL).replace(
                    b'"eventName":"Decrypt"', b'"eventName":"Decrypt","eventName":"Encrypt"'
                )
            )
        },
        {NOT_YET},
    ),
    (
        "only digests' and insights' files",
        {f"{ACCOUNT}_CloudTrail-Insight_{REGION}_x.json.gz": packed(*ALL), A: packed(CREATE)},
        {NOT_YET},
    ),
    (
        "another account's file under this account's name",
        {A: packed(CREATE, GENERATE, GET, altered("decrypt", recipientAccountId="444455556666"))},
        {NOT_YET},
    ),
    (
        "another Region's Decrypt",
        {A: packed(CREATE, GENERATE, GET, altered("decrypt", awsRegion="us-east-1"))},
        {NOT_YET},
    ),
    (
        "another partition's workflow",
        {
            A: packed(
                CREATE,
                GENERATE,
                GET,
                json.loads(
                    json.dumps(DECRYPT).replace("arn:aws:imagebuilder", "arn:aws-cn:imagebuilder")
                ),
            )
        },
        {NOT_YET},
    ),
    (
        "an older build's records only",
        {
            A: packed(
                BEGIN,
                altered("generate", at_s=-9000),
                altered("get", at_s=-8000),
                altered("decrypt", at_s=-8000),
            )
        },
        {NOT_YET},
    ),
    (
        "a refused read and its refused Decrypt",
        {
            A: packed(
                CREATE,
                GENERATE,
                altered("get", errorCode="ForbiddenException"),
                altered("decrypt", errorCode="AccessDenied"),
            )
        },
        {NOT_YET},
    ),
    (
        "somebody's script with the same context, and a dry run",
        {
            A: packed(
                CREATE,
                GET,
                altered("generate", userIdentity__invokedBy=REMOVED),
                altered("decrypt", requestParameters__dryRun=True),
            )
        },
        {NOT_YET},
    ),
    (
        "different messages in two files",
        {
            A: packed(CREATE, GENERATE),
            B: packed(
                GET,
                json.loads(
                    json.dumps(DECRYPT).replace(
                        'aws-crypto-public-key": "', 'aws-crypto-public-key": "x'
                    )
                ),
            ),
        },
        {NOT_YET},
    ),
    (
        "the context's ARN in capitals",
        {
            A: packed(
                CREATE,
                GENERATE,
                GET,
                json.loads(json.dumps(DECRYPT).replace(":workflow/build/", ":WORKFLOW/build/")),
            )
        },
        {NOT_YET},
    ),
    (
        "another read of another build, in a late file",
        {
            A: packed(*ALL),
            LATE: packed(
                altered("get", requestParameters__workflowBuildVersionArn="$ANOTHER_BUILD")
                | {"eventID": "other"}
            ),
        },
        {NOT_YET},
    ),
    ("nothing but empty lists", {A: packed(), B: packed()}, {NOT_YET}),
]


@pytest.mark.parametrize(("title", "files", "allowed"), FILES, ids=[row[0] for row in FILES])
def test_files_that_were_meant_to_fool_it(
    tmp_path: Path, title: str, files: Files, allowed: set[Outcome]
) -> None:
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    verdict, found = judged(tmp_path, claim(prover_reads=()))
    assert verdict.outcome in allowed
    if "cut short" in title or "half" in title or "not JSON" in title:
        assert len(found.searched.malformed) == 1


def test_there_are_at_least_forty_of_each() -> None:
    assert len(FILES) >= 40
    assert len(TABLE) >= 40


@pytest.mark.parametrize("names_key", [True, False])
def test_a_pair_under_another_key_refutes_only_where_the_name_does_not_outweigh_it(
    tmp_path: Path, names_key: bool
) -> None:
    text = text_of(ALL).replace(KEY.encode(), NAMES["OTHER_KEY"].encode())
    write(tmp_path / A, text)
    asked = claim(prover_reads=(), kms_key_id=NAMES["OTHER_KEY" if names_key else "ALIAS"])
    assert judged(tmp_path, asked)[0].outcome is REFUTED


# --- the machine ----------------------------------------------------------------------------------

CONTEXT = "requestParameters/encryptionContext/aws:imagebuilder:arn"
OTHERS: dict[str, dict[str, Any]] = {
    "another call of KMS": {"eventName": "DescribeKey"},
    "another workflow": {CONTEXT: "$VERSION-2/*"},
    "another version": {CONTEXT: "$VERSION.0/*"},
    "another account": {"recipientAccountId": "444455556666"},
    "another Region": {"awsRegion": "us-east-1"},
    "somebody's own script": {"userIdentity/invokedBy": REMOVED},
    "another service": {"userIdentity/invokedBy": "ec2.amazonaws.com"},
    "a refused call": {"errorCode": "AccessDenied"},
    "a failed call": {"errorMessage": "no"},
    "a dry run": {"requestParameters/dryRun": True},
    "no context": {"requestParameters/encryptionContext": REMOVED},
    "before the build": {"at_s": -4000},
}  # fmt: skip
"""What makes a record of KMS another's: it can neither support nor refute."""


class Mutations(RuleBasedStateMachine):
    """A true log, and what is done to it. Three classes of mutation:

    - what changes nothing that matters: the verdict stays the truth;
    - what makes it doubtful: the truth, or NOT_YET;
    - what takes away a record that the verdict rests on: NOT_YET alone.
    """

    truths: ClassVar[dict[str, Outcome]] = {"KEY": PROVED, "OTHER_KEY": REFUTED}

    @initialize(key=st.sampled_from(["KEY", "OTHER_KEY"]))
    def begin(self, key: str) -> None:
        text = json.dumps(true_log()).replace(KEY, NAMES[key])
        self.truth = self.truths[key]
        self.allowed = {self.truth}
        self.asked = claim(kms_key_id=KEY if key == "KEY" else NAMES["ALIAS"], prover_reads=())
        self.log: dict[str, Document] = json.loads(text)
        self.more: list[Document] = []
        self.broken: list[bytes] = []
        self.parts = 1
        self.order = 0
        self.pack: Callable[[bytes], bytes] = gzip.compress
        self.spell: Callable[[str], str] = str
        self.delivered = DELIVERED

    def doubt(self) -> None:
        self.allowed = self.allowed | {NOT_YET}

    @rule(parts=st.integers(1, 4), order=st.integers(0, 99))
    def put_into_files(self, parts: int, order: int) -> None:
        self.parts, self.order = parts, order

    @rule(cut=st.integers(0, 3000), level=st.integers(0, 9))
    def pack_in_two_members(self, cut: int, level: int) -> None:
        self.pack = lambda text: gzip.compress(text[:cut], level) + gzip.compress(text[cut:], level)

    @rule(letter=st.sampled_from("bgdkDGyp"))
    def spell_a_letter_as_escape(self, letter: str) -> None:
        """A letter of no JSON literal, and not of eventTime: without times files cover nothing."""
        self.spell = lambda text: text.replace(letter, f"\\u{ord(letter):04x}")

    @rule(hours=st.integers(0, 23))
    def deliver_late(self, hours: int) -> None:
        self.delivered = DELIVERED + timedelta(hours=hours)

    @rule(name=st.sampled_from(sorted(TRUE)))
    def double(self, name: str) -> None:
        if name in self.log:
            self.more.append(copy.deepcopy(self.log[name]))

    @rule(
        what=st.sampled_from(sorted(OTHERS)),
        like=st.sampled_from(["generate", "decrypt"]),
        key=st.sampled_from(["KEY", "OTHER_KEY"]),
    )
    def add_another_s_record(self, what: str, like: str, key: str) -> None:
        document = true_log()[like] | {"eventID": f"another's {len(self.more)}"}
        change(document, {"resources/0/ARN": f"${key}", **OTHERS[what]})
        self.more.append(document)

    @rule(like=st.sampled_from(sorted(TRUE)), string=st.booleans())
    def nest_a_forged_record(self, like: str, string: bool) -> None:
        forged = json.loads(json.dumps(true_log()[like]).replace(KEY, NAMES["OTHER_KEY"]))
        holds = '"},' + json.dumps(forged) + ',{"' if string else {"Records": [forged, forged]}
        holder = {"eventID": f"holds {len(self.more)}", "eventTime": TRUE["create"]["eventTime"]}
        self.more.append(UNRELATED | holder | {"requestParameters": {"x": holds}})

    @rule(name=st.sampled_from(sorted(TRUE)), what=st.sampled_from(["errorCode", "errorMessage"]))
    def contradict(self, name: str, what: str) -> None:
        """The same event once more, told otherwise."""
        if name in self.log:
            self.more.append(self.log[name] | {what: "AccessDenied"})
            self.doubt()

    @rule(name=st.sampled_from(["create", "get"]))
    def lose_a_record_of_image_builder(self, name: str) -> None:
        self.log.pop(name, None)
        self.doubt()

    @rule(build=st.sampled_from(["ANOTHER_BUILD", "VERSION"]), at_s=st.integers(200, 260))
    def read_another_build(self, build: str, at_s: int) -> None:
        document = true_log()["get"] | {"eventID": f"stranger {len(self.more)}"}
        change(document, {"at_s": at_s, "requestParameters/workflowBuildVersionArn": f"${build}"})
        self.more.append(document)
        self.doubt()

    @rule(keep=st.floats(0.05, 0.95))
    def add_a_file_cut_short(self, keep: float) -> None:
        whole = packed(*true_log().values())
        self.broken.append(whole[: int(len(whole) * keep)])
        self.doubt()

    @rule(name=st.sampled_from(["generate", "decrypt"]))
    def lose_a_record_of_the_pair(self, name: str) -> None:
        lost = self.log.pop(name, None)
        self.more = [one for one in self.more if lost is None or one["eventID"] != lost["eventID"]]
        self.allowed = {NOT_YET}

    @rule(name=st.sampled_from(["generate", "decrypt"]), what=st.sampled_from(sorted(OTHERS)))
    def make_a_record_of_the_pair_another_s(self, name: str, what: str) -> None:
        if name in self.log:
            self.lose_a_record_of_the_pair(name)
            document = true_log()[name]
            change(document, OTHERS[what])
            self.more.append(document)
        self.allowed = {NOT_YET}

    @invariant()
    def only_an_allowed_verdict_is_given(self) -> None:
        if not hasattr(self, "log"):
            return
        around = [UNRELATED | {"eventTime": f"2023-11-21T{hour}:00:00Z"} for hour in (19, 21)]
        documents = [*around, *self.log.values(), *self.more]
        random.Random(self.order).shuffle(documents)
        with tempfile.TemporaryDirectory() as folder:
            for number in range(self.parts):
                text = self.spell(text_of(documents[number :: self.parts]).decode())
                # The list's own name is always spelled plainly.
                text = '{"Records":' + text.partition(":")[2]
                path = Path(folder) / name_of(self.delivered, f"{number}")
                path.write_bytes(self.pack(text.encode()))
            for number, content in enumerate(self.broken):
                (Path(folder) / name_of(self.delivered, f"BROKEN{number}")).write_bytes(content)
            verdict, found = judged(Path(folder), self.asked)
        assert verdict.outcome in self.allowed
        assert len(found.searched.malformed) == len(self.broken)


TestMutations = Mutations.TestCase
TestMutations.settings = settings(max_examples=50, stateful_step_count=8, deadline=None)
