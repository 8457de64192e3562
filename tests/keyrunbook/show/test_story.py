"""The story of a run: what the lines of a ledger tell, in order, and what they leave in AWS."""

from __future__ import annotations

from typing import Any

import pytest
from keyrunbook.ledger import Chain
from keyrunbook.show import story
from keyrunbook.show.story import Left, Told

Line = dict[str, Any]
KEY = "arn:aws:kms:us-west-2:111122223333:key/k"
FLOW = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/w/1.0.0/1"
OPERATOR = "arn:aws:iam::111122223333:user/administrator"


def line(kind: str, step: str = "01_create_key", **fields: Any) -> Line:
    return {"time": "2026-01-31T09:00:00.000+00:00", "step": step, "kind": kind, **fields}


def opened(target: str = "sandbox") -> Line:
    where = {"account": "111122223333", "region": "us-west-2", "endpoint": "http://127.0.0.1:1"}
    more = {"operator": OPERATOR, "is_aws": False, "sandbox": "d6d5"}
    return line("opened", target=target, **where, **more)


def intent(call: str, before: Any = None, **parameters: Any) -> Line:
    words = {"why": "because", "undo": "undo it", "operator": OPERATOR, "before": before or {}}
    return line("intent", call=call, parameters=parameters, **words)


def outcome(call: str, status: str = "done", **more: Any) -> Line:
    given = {"request_id": "r-1", "gives": {}} if status == "done" else {"message": "no"}
    return line("outcome", call=call, status=status, **{**given, **more})


def done(call: str, gives: Line | None = None, before: Any = None, **parameters: Any) -> list[Line]:
    return [intent(call, before, **parameters), outcome(call, gives=gives or {})]


def told(*lines: Line | list[Line]) -> list[Told]:
    flat = [one for some in lines for one in (some if isinstance(some, list) else [some])]
    return story.tell({"n": n, **one} for n, one in enumerate(flat, 1))


MAKE_KEY = done("kms:CreateKey", {"key_arn": KEY}, Description="x")
MAKE_FLOW = done("imagebuilder:CreateWorkflow", {"workflow_arn": FLOW}, name="w")
POLICY = {"policy": '{"a": 1}'}
GRANT = {"grant": {"GranteePrincipal": "arn:r", "Operations": ["Decrypt"]}}
THERE = "there"
LOST = "not known: the call has no outcome in the ledger"

LEFT: dict[str, tuple[list[Line | list[Line]], list[Left]]] = {
    "nothing was made": ([opened()], []),
    "a key and its alias": (
        [MAKE_KEY, done("kms:CreateAlias", AliasName="alias/x", TargetKeyId=KEY)],
        [Left(f"KMS key {KEY}", THERE), Left("alias alias/x", THERE)],
    ),
    "rotation and policy of a key that the run made go with it": (
        [
            MAKE_KEY,
            done("kms:EnableKeyRotation", KeyId=KEY),
            done("kms:PutKeyPolicy", before=POLICY, KeyId=KEY, Policy='{"a": 2}'),
        ],
        [Left(f"KMS key {KEY}", THERE)],
    ),
    "rotation and policy of a key that was there before": (
        [
            done("kms:EnableKeyRotation", KeyId=KEY),
            done("kms:PutKeyPolicy", before=POLICY, KeyId=KEY, Policy='{"a": 2}'),
        ],
        [
            Left(f"rotation of KMS key {KEY}", THERE),
            Left(f"changed policy of KMS key {KEY}", THERE),
        ],
    ),
    "a policy that was put back as it was": (
        [
            done("kms:PutKeyPolicy", before=POLICY, KeyId=KEY, Policy='{"a": 2}'),
            done("kms:PutKeyPolicy", before={"policy": '{"a": 2}'}, KeyId=KEY, Policy='{ "a": 1 }'),
        ],
        [],
    ),
    "a policy of which nobody knows whether it was put back": (
        [
            done("kms:PutKeyPolicy", before=POLICY, KeyId=KEY, Policy='{"a": 2}'),
            intent("kms:PutKeyPolicy", {"policy": '{"a": 2}'}, KeyId=KEY, Policy='{"a": 1}'),
        ],
        [Left(f"changed policy of KMS key {KEY}", LOST)],
    ),
    "a key that is scheduled is there until its date": (
        [
            MAKE_KEY,
            done(
                "kms:ScheduleKeyDeletion",
                {"deletion_date": "2026-03-02 09:00:00.279000+00:00"},
                KeyId=KEY,
            ),
        ],
        [Left(f"KMS key {KEY}", "scheduled for deletion: 2026-03-02T09:00:00.279000Z")],
    ),
    "removed": (
        [
            done("iam:CreateRole", RoleName="r"),
            done("iam:PutRolePolicy", RoleName="r", PolicyName="p"),
            MAKE_FLOW,
            done("iam:DeleteRolePolicy", RoleName="r", PolicyName="p"),
            done("iam:DeleteRole", RoleName="r"),
            done("imagebuilder:DeleteWorkflow", workflowBuildVersionArn=FLOW),
        ],
        [],
    ),
    "removed, and made again": (
        [
            done("iam:PutRolePolicy", RoleName="r", PolicyName="p"),
            done("iam:DeleteRolePolicy", RoleName="r", PolicyName="p"),
            done("iam:PutRolePolicy", RoleName="r", PolicyName="p"),
        ],
        [Left("policy of role r: p", THERE)],
    ),
    "a refused call made nothing": (
        [intent("iam:CreateRole", RoleName="r"), outcome("iam:CreateRole", "refused", code="X")],
        [],
    ),
    "a refused removal removed nothing": (
        [
            done("iam:CreateRole", RoleName="r"),
            intent("iam:DeleteRole", RoleName="r"),
            outcome("iam:DeleteRole", "refused", code="DeleteConflict"),
        ],
        [Left("role r", THERE)],
    ),
    "a crash between intent and outcome: nobody knows": (
        [intent("kms:CreateKey", Description="x")],
        [Left("KMS key (line 1 of the ledger)", LOST)],
    ),
    "no answer came: nobody knows": (
        [
            intent("iam:CreateRole", RoleName="r"),
            outcome("iam:CreateRole", "unknown", code="ReadTimeoutError"),
        ],
        [Left("role r", LOST)],
    ),
    "no answer came: it was looked up, and is there": (
        [
            intent("iam:CreateRole", RoleName="r"),
            outcome("iam:CreateRole", "unknown", code="ReadTimeoutError"),
            outcome("iam:CreateRole", intent=1, found="GetRole"),
        ],
        [Left("role r", THERE)],
    ),
    "no answer came: it was looked up, and is not there": (
        [
            intent("iam:CreateRole", RoleName="r"),
            outcome("iam:CreateRole", "not made", intent=1, found="GetRole: nothing of it"),
        ],
        [],
    ),
    "a removal whose outcome is not known": (
        [MAKE_FLOW, intent("imagebuilder:DeleteWorkflow", workflowBuildVersionArn=FLOW)],
        [Left(f"workflow {FLOW}", "not known: its removal has no outcome in the ledger")],
    ),
    "the sandbox keeps no images": (
        [opened(), done("imagebuilder:CreateImage", {"image_arn": "arn:i"})],
        [],
    ),
    "an image on AWS": (
        [opened("aws"), done("imagebuilder:CreateImage", {"image_arn": "arn:i"})],
        [Left("image arn:i", THERE)],
    ),
    "a build on AWS that was cancelled, and whose image was removed": (
        [
            opened("aws"),
            done("imagebuilder:CreateImage", {"image_arn": "arn:i"}),
            done("imagebuilder:CancelImageCreation", imageBuildVersionArn="arn:i"),
            done("imagebuilder:DeleteImage", imageBuildVersionArn="arn:i"),
        ],
        [],
    ),
    "two grants were taken, and one given back": (
        [
            done("kms:RevokeGrant", before=GRANT, KeyId=KEY, GrantId="g1"),
            done(
                "kms:RevokeGrant",
                before={"grant": {**GRANT["grant"], "Operations": ["Encrypt"]}},
                KeyId=KEY,
                GrantId="g2",
            ),
            done("kms:CreateGrant", {"grant_id": "g3"}, KeyId=KEY, **GRANT["grant"]),
        ],
        [Left(f"grant taken from KMS key {KEY}: arn:r, Encrypt", THERE)],
    ),
    "an emergency stop": (
        [done("kms:DisableKey", KeyId=KEY)],
        [Left(f"emergency stop of KMS key {KEY}", THERE)],
    ),
    "an emergency stop that is over": (
        [done("kms:DisableKey", KeyId=KEY), done("kms:EnableKey", KeyId=KEY)],
        [],
    ),
    "a call that no table knows is not passed over": (
        [done("kms:TagResource", KeyId=KEY)],
        [Left("made by kms:TagResource (line 1 of the ledger)", THERE)],
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_is_left(case: str) -> None:
    lines, expected = LEFT[case]
    assert story.left(told(*lines)) == expected


def test_an_intent_and_its_outcome_are_one_change() -> None:
    (change,) = told(MAKE_KEY)
    assert (change.kind, change.status) == ("change", "done")
    assert change.fields["undo"] == "undo it"
    assert change.fields["request_id"] == "r-1"
    assert change.fields["gives"] == {"key_arn": KEY}


def test_an_intent_without_an_outcome_stays_by_itself() -> None:
    """The run died, was resumed, and the same call was made again."""
    lost, made = told(MAKE_KEY[0], line("repaired", dropped_bytes=9), MAKE_KEY)[::2]
    assert (lost.status, made.status) == ("not known", "done")


TEXT: list[tuple[list[Line], list[str]]] = [
    (
        [line("inventory", under_the_key=[FLOW], not_known=[{"what": "W", "why": "refused"}])],
        ["workflows under the key", FLOW, "not known: W (refused)"],
    ),
    (
        [
            line(
                "access",
                when="revoked",
                cells=[
                    ["role", "kms:Decrypt", "a workflow", "DENIED", "nothing", True],
                    ["role", "kms:Decrypt", "a component", "DENIED", "nothing", False],
                ],
                not_read=["boundary"],
            )
        ],
        ["who may use the key (revoked)", "role, kms:Decrypt for a workflow: DENIED", "boundary"],
    ),
    (
        [line("revocation", by="deny", further=False, before={"grants": [{}]}, left="{}")],
        ["a revocation began (by deny)", "1 grants"],
    ),
    (
        [line("revocation", by="deny", further=True, before={"grants": []}, left="{}")],
        ["the revocation goes on (by deny)"],
    ),
    ([line("restored")], ["what the revocation took was given back"]),
    (
        [
            line(
                "in_use",
                workflow=[],
                key=[{"by": "arn:someone", "how": "Encrypt at noon"}],
                not_known=[{"what": "pipelines", "why": "refused"}],
            )
        ],
        ["who else uses workflow and key", "arn:someone: Encrypt at noon", "pipelines (refused)"],
    ),
    (MAKE_KEY, ["kms:CreateKey", "at: 2026-01-31T09:00:00.000Z", "why: because", "undo: undo it"]),
    (MAKE_KEY, ["outcome: ✓ done, request r-1", f"AWS gave: key_arn {KEY}"]),
    (MAKE_KEY[:1], ["outcome: ? not known: the ledger holds no outcome"]),
    (
        [MAKE_KEY[0], outcome("kms:CreateKey", "refused", code="AccessDeniedException")],
        ["outcome: ✗ refused: AccessDeniedException: no"],
    ),
    (
        [MAKE_KEY[0], outcome("kms:CreateKey", "unknown", code="ReadTimeoutError")],
        ["outcome: ? not known: ReadTimeoutError"],
    ),
    (
        [
            MAKE_KEY[0],
            outcome("kms:CreateKey", "unknown", code="ReadTimeoutError"),
            outcome("kms:CreateKey", intent=1, found="ListKeys", request_id=None),
        ],
        ["outcome: ✓ done, looked up by ListKeys"],
    ),
    (
        [MAKE_KEY[0], outcome("kms:CreateKey", "not made", intent=1, found="ListKeys: nothing")],
        ["outcome: ✗ not made: ListKeys: nothing"],
    ),
    (
        [MAKE_KEY[0], outcome("kms:CreateKey", "not made", code="EndpointConnectionError")],
        ["outcome: ✗ not made: EndpointConnectionError: no"],
    ),
    (
        [
            line(
                "findings",
                findings=[{"statement": "S", "status": "fail", "evidence": "E", "mend": "M"}],
            )
        ],
        ["✗ fail: S", "because: E", "mend: M"],
    ),
    (
        [line("verdict", verdict="NOT_YET", events=["e-1", "e-2"], clauses=[])],
        ["verdict: ? NOT YET", "event ids: e-1, e-2"],
    ),
    ([line("error", type="LockOut", what="W", fix="F")], ["✗ LockOut", "because: W", "mend: F"]),
    ([line("repaired", dropped_bytes=17)], ["the ledger was repaired", "17 bytes"]),
    ([line("done")], ["the step came to its end"]),
    ([line("facts", facts={"key_arn": KEY})], ["learned", f"key_arn {KEY}"]),
    (
        [line("lock_out_check", call="kms:PutKeyPolicy", outcome="UNKNOWN", why="W")],
        ["lock out check", "call kms:PutKeyPolicy; outcome UNKNOWN; why W"],
    ),
    (
        [line("build", when="one", decrypted=False, reason="R")],
        ["build (one)", "✗ refused", "because: R"],
    ),
    (
        [line("read", call="imagebuilder:GetWorkflow", principal="P", request_id="q")],
        ["imagebuilder:GetWorkflow", "by: P", "request q"],
    ),
]


@pytest.mark.parametrize(("lines", "words"), TEXT)
def test_what_a_line_tells(lines: list[Line], words: list[str]) -> None:
    (chapter,) = story.chapters(told(lines))
    text = chapter.text()
    assert text.startswith("01_create_key\n")
    for word in words:
        assert word in text


def test_what_a_call_gave_is_told_once() -> None:
    (chapter,) = story.chapters(told(MAKE_KEY, line("facts", facts={"key_arn": KEY})))
    assert chapter.text().count(KEY) == 1


def test_who_is_told_where_it_is_somebody_else_than_who_opened_the_run() -> None:
    other = {**MAKE_KEY[0], "operator": "arn:other"}
    (chapter,) = story.chapters(told(opened(), MAKE_KEY, other))
    assert chapter.text().count("by: ") == 1
    assert "by: arn:other" in chapter.text()


def test_a_chapter_is_what_one_step_wrote_in_a_row() -> None:
    steps = ["00_preflight", "01_create_key", "01_create_key", "00_preflight"]
    tables = story.chapters(told(*(line("done", step) for step in steps)))
    assert [table.caption for table in tables] == ["00_preflight", "01_create_key", "00_preflight"]


@pytest.mark.parametrize(
    ("target", "is_aws", "words"),
    [
        ("sandbox", False, "the embedded sandbox d6d5, not AWS"),
        ("aws", True, "AWS"),
        ("aws", False, "http://127.0.0.1:1, not AWS"),
    ],
)
def test_the_heading_says_who_where_and_on_what(target: str, is_aws: bool, words: str) -> None:
    text = story.heading("x", {**opened(target), "is_aws": is_aws}, "done").text()
    assert text.splitlines()[2:] == [
        f"who    {OPERATOR}",
        "where  account 111122223333, Region us-west-2",
        f"on     {words}",
        "began  2026-01-31T09:00:00.000Z",
        "ended  done",
    ]


def test_the_end_names_the_head_and_says_what_a_chain_is_worth() -> None:
    chain = Chain([{"hash": "abc"}], 10, torn_bytes=7)
    left, ledger = (table.text() for table in story.ending([], "AWS", chain))
    assert "Left on AWS" in left
    assert "Nothing that this run made." in left
    assert "head hash abc" in ledger
    assert "7 bytes of a torn line" in ledger
    assert "not a forger who owns the folder" in ledger
