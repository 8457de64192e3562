"""The report of a run: what it says of a ledger, what it keeps back, and the page that it is."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from keyrunbook.ledger import Chain
from keyrunbook.records import parse_record
from keyrunbook.report.content import NOT_KNOWN, OnDisk, Report, report
from keyrunbook.report.page import BEGINNING, html
from keyrunbook.show.records import lasting

Line = dict[str, Any]
KEY = "arn:aws:kms:us-west-2:111122223333:key/k"
FLOW = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/w/1.0.0/1"
OPERATOR = "arn:aws:iam::111122223333:user/administrator"
ADMINISTRATORS = {"Sid": "Admins", "Effect": "Allow", "Action": "kms:*", "Resource": "*"}
WORKFLOWS = {"Sid": "Use", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
CONTEXT = {"aws:imagebuilder:arn": FLOW[:-1] + "*", "aws-crypto-public-key": "Ahwx" * 17}
RAW = {
    "eventVersion": "1.11",
    "eventID": "e-1",
    "eventTime": "2026-01-31T09:00:05Z",
    "eventSource": "kms.amazonaws.com",
    "eventName": "GenerateDataKey",
    "awsRegion": "us-west-2",
    "recipientAccountId": "111122223333",
    "sourceIPAddress": "203.0.113.7",
    "userIdentity": {
        "type": "IAMUser",
        "arn": OPERATOR,
        "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
        "invokedBy": "imagebuilder.amazonaws.com",
    },
    "requestParameters": {"keyId": KEY, "encryptionContext": CONTEXT},
    "resources": [{"type": "AWS::KMS::Key", "ARN": KEY, "accountId": "111122223333"}],
}


def policy(*statements: Line) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def line(kind: str, step: str = "01_create_key", **fields: Any) -> Line:
    return {"time": "2026-01-31T09:00:00.000+00:00", "step": step, "kind": kind, **fields}


def opened(*, is_aws: bool = False, target: str = "sandbox", **more: Any) -> Line:
    where = {"account": "111122223333", "region": "us-west-2", "endpoint": "https://127.0.0.1:1"}
    return line(
        "opened",
        is_aws=is_aws,
        target=target,
        sandbox="d6d5",
        parameters={"outputs_dir": "/home/jane/outputs", "rotation_days": 90},
        **where | {"operator": OPERATOR} | more,
    )


def call(
    call: str, status: str | None = "done", before: Any = None, **parameters: Any
) -> list[Line]:
    words = {"why": "because", "undo": "undo it", "operator": OPERATOR, "before": before or {}}
    lines = [line("intent", call=call, parameters=parameters, **words)]
    if status is not None:
        gives = {"key_arn": KEY} if call == "kms:CreateKey" else {}
        lines.append(
            line("outcome", call=call, status=status, request_id="r-1", gives=gives, message="no")
        )
    return lines


def verdict(outcome: str, **more: Any) -> Line:
    clause = {"outcome": outcome, "reason": "the reason.", "need": None, "events": ["e-1"]}
    return line(
        "verdict",
        "04_confirm_events",
        verdict=outcome,
        events=["e-1"],
        clauses=[{"name": "encrypted", **clause}, {"name": "readable", **clause}],
        callers=[{"event_name": "GenerateDataKey", "issuer_arn": None, "principal_arn": OPERATOR}],
        rejected=[{"event_id": "e-2", "reason": "another key"}],
        source="CloudTrail Event history",
        searched_from="2026-01-31T09:00:00+00:00",
        searched_until="2026-01-31T09:01:00+00:00",
        complete=True,
        waited_s=None,
        **more,
    )


def seen(event_id: str = "e-1", became: str = "counts", **more: Any) -> Line:
    return {
        "event_id": event_id,
        "name": "GenerateDataKey",
        "time": "2026-01-31T09:00:05+00:00",
        "caller": OPERATOR,
        "invoked_by": "imagebuilder.amazonaws.com",
        "for": CONTEXT["aws:imagebuilder:arn"],
        "became": became,
        "seen": "2026-01-31T09:00:06.000+00:00",
        "record": lasting({**RAW, "eventID": event_id}),
    } | more


def access(when: str, outcome: str) -> Line:
    cells = [["execution role", "kms:Decrypt", "a workflow", outcome, "kms:Decrypt: why", True]]
    return line("access", "02_grant_access", when=when, cells=cells, not_read=[])


def build(when: str, decrypted: bool | None) -> Line:
    return line("build", "05_revoke_access", when=when, decrypted=decrypted, reason="so it was")


def findings(status: str, kind: str = "findings", **more: Any) -> Line:
    one = {"statement": "It is so", "status": status, "evidence": "seen", "mend": "mend it"}
    return line(kind, findings=[one | more])


WHOLE: list[Line] = [
    opened(),
    *call("kms:CreateKey", Policy=policy(ADMINISTRATORS)),
    *call(
        "kms:PutKeyPolicy",
        before={"policy": policy(ADMINISTRATORS)},
        KeyId=KEY,
        Policy=policy(ADMINISTRATORS, WORKFLOWS),
    ),
    access("granted", "ALLOWED"),
    findings("pass"),
    verdict("PROVED"),
    line("records", "04_confirm_events", records=[seen(), seen("e-2", "set aside")]),
    line("last_use", "04_confirm_events", agreement="agrees", reason="So they say."),
    access("revoked", "DENIED"),
    build("both", False),
]


def made(*lines: Line, result: Line | None = None, torn: int = 0, **more: Any) -> Report:
    entries = [{"n": n, **one, "hash": f"{n:064x}"} for n, one in enumerate(lines, 1)]
    given = {"ended": "done, exit status 0", "stands": (), "files": ()} | more
    return report(OnDisk("r1", Chain(entries, 0, torn), result or {}, **given))


def words(page: str) -> str:
    """The text of a page, on one line."""
    body = re.sub(r"<style.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


# --- what it says


def test_a_whole_run() -> None:
    told = made(*WHOLE)
    assert told.evidence.sign == "✓ PROVED"
    assert dict(told.summary)["key"] == KEY
    assert ("exit status", f"{NOT_KNOWN}there is no result.json") in told.summary
    assert told.given.rows == [("rotation_days", "90")]
    assert dict(told.ledger)["head hash"] == f"{len(WHOLE):064x}"
    assert [one.reason for one in told.evidence.records] == [
        "shows: encrypted, readable",
        "another key",
    ]
    assert told.last_use == "KMS's own last use of the key: agrees. So they say."
    assert told.unknown.rows == []
    assert [row[:2] for row in told.left.rows] == [(f"KMS key {KEY}", "there")]
    assert [row[0] for row in told.undo.rows] == ["kms:PutKeyPolicy", "kms:CreateKey"]


def test_a_policy_is_compared_statement_by_statement() -> None:
    first, second = made(*WHOLE).policies
    assert [(one.sign, one.name) for one in first.statements] == [("+ added", "Admins")]
    assert [(one.sign, one.name) for one in second.statements] == [
        ("= kept as it was", "Admins"),
        ("+ added", "Use"),
    ]
    assert second.statements[1].after == "allows kms:Decrypt on *"
    assert ("+", '  "Sid": "Use",') in second.statements[1].lines
    assert [name for name, _ in second.documents] == ["before", "after"]


def test_a_policy_that_is_no_json_is_shown_and_not_compared() -> None:
    given = {"RoleName": "r", "PolicyName": "p", "PolicyDocument": "{}"}
    [one] = made(*call("iam:PutRolePolicy", before={"policy": "{"}, **given)).policies
    assert (one.statements, one.note) == ((), "Not compared: one of the two is not JSON.")
    assert dict(one.documents) == {"before": "{", "after": "{}"}


def test_the_matrix_has_a_column_for_each_look_the_newest_of_its_kind() -> None:
    told = made(
        access("granted", "UNKNOWN"), access("granted", "ALLOWED"), access("revoked", "DENIED")
    )
    assert told.access.columns[3:] == ("after 02", "revoked", "because")
    assert told.access.rows == [
        ("execution role", "kms:Decrypt", "a workflow", "✓ ALLOWED", "✗ DENIED", "it: why")
    ]


def test_the_records_of_one_ciphertext_share_a_letter() -> None:
    other = lasting({**RAW, "eventID": "e-3", "requestParameters": {"encryptionContext": {
        **CONTEXT, "aws-crypto-public-key": "Bhwx" * 17}}})  # fmt: skip
    told = made(line("records", records=[seen(), seen("e-2"), seen("e-3", record=other)]))
    assert [one.message for one in told.evidence.records] == ["A", "A", "B"]


def test_the_usage_is_made_of_the_records_that_the_ledger_keeps() -> None:
    told = made(*WHOLE)
    assert told.evidence.usage is not None
    [row] = told.evidence.usage.rows
    assert row[1] == "GenerateDataKey"
    assert row[4] == "2"


def test_a_ledger_that_kept_no_records_text() -> None:
    old = {name: value for name, value in seen().items() if name != "record"}
    told = made(*call("kms:CreateKey"), verdict("PROVED"), line("records", records=[old]))
    assert told.evidence.usage is None
    assert [one.html for one in told.evidence.records] == [None]
    assert ("the run", "the text of some of CloudTrail's records") in [
        row[:2] for row in told.unknown.rows
    ]
    assert "Not known: the record’s text." in words(html(told))


UNKNOWN: list[tuple[Line, str, str]] = [
    (verdict("NOT_YET"), "whether the workflow is encrypted", "the reason."),
    (findings("not checked"), "It is so", "not checked: seen"),
    (findings("not checkable", "scorecard"), "It is so", "not checkable: seen"),
    (access("granted", "UNKNOWN"), "whether the execution role may do kms:Decrypt for a workflow "
     "(granted)", "kms:Decrypt: why"),
    (build("both", None), "whether a build could read the workflow (both)", "so it was"),
    (line("inventory", not_known=[{"what": "a workflow", "why": "denied"}], under_the_key=[]),
     "a workflow", "denied"),
    (line("last_use", agreement="not known", reason="denied"),
     "whether KMS and the records say the same of the key's last use", "denied"),
    (line("account_alias", known=False, why="denied"), "the account's alias", "denied"),
    (verdict("PROVED") | {"complete": False}, "all that was searched for",
     "the source did not answer in full"),
    (call("kms:CreateKey", None)[0], "what became of kms:CreateKey (line 1)",
     "the ledger holds no outcome"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "what", "why"), UNKNOWN, ids=[what for _, what, _ in UNKNOWN])
def test_what_stayed_unknown_is_told_with_why(one: Line, what: str, why: str) -> None:
    assert (one["step"], what, why) in made(one).unknown.rows


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (verdict("NOT_YET"), verdict("PROVED")),
        (findings("not checked"), findings("pass")),
        (access("granted", "UNKNOWN"), access("granted", "ALLOWED")),
        (build("both", None), build("both", False)),
    ],
    ids=["verdict", "finding", "access", "build"],
)
def test_what_was_answered_later_is_known(before: Line, after: Line) -> None:
    asked = made(before).unknown.rows
    known = made(before, after).unknown.rows
    assert {row[0] for row in asked} - {"the run"}
    assert {row[0] for row in known} <= {"the run"}


def test_an_empty_ledger_is_a_report_that_says_so() -> None:
    told = made(ended="no result.json: its notebooks were opened by hand")
    assert told.evidence.sign == "? no verdict"
    assert told.banner.startswith("Not known whether this was AWS")
    assert ("the run", "where and by whom it was made", "the ledger has no such line") in (
        told.unknown.rows
    )
    page = words(html(told))
    assert "Nothing: the ledger tells of no step." in page
    assert "The run made no call, and saw no record." in page


def test_a_run_that_failed_tells_why_and_what_to_do() -> None:
    result = {
        "steps": [{"name": "01_create_key", "status": "failed", "seconds": None, "notebook": None}],
        "error": {"what": "KMS refused CreateKey.", "fix": "Ask for kms:CreateKey."},
        "exit_status": 5,
        "parameters": {},
    }
    told = made(opened(), result=result, ended="failed in 01_create_key: AwsRefused")
    assert told.error == ("KMS refused CreateKey.", "Ask for kms:CreateKey.")
    assert ("exit status", "5") in told.summary
    assert "KMS refused CreateKey." in words(html(told))


def test_an_error_of_notebooks_opened_by_hand_is_told_while_it_is_the_last_word() -> None:
    failed = line("error", what="It failed.", fix="Mend it.", type="AwsRefused", exit_status=5)
    assert made(opened(), failed).error == ("It failed.", "Mend it.")
    assert made(opened(), failed, line("done")).error is None


def test_what_stands_and_a_torn_end_are_told() -> None:
    page = words(html(made(opened(), torn=7, stands=["a revocation stands"])))
    assert "a revocation stands" in page
    assert "7 bytes, as a crash leaves them: not counted" in page


@pytest.mark.parametrize(
    ("first", "banner"),
    [
        (opened(), "Not AWS: this run talked to the embedded sandbox."),
        (
            opened(target="aws", endpoint="https://example.com"),
            "the calls of this run to https://ex",
        ),
        (opened(target="aws", is_aws=True), ""),
    ],
    ids=["sandbox", "another endpoint", "AWS"],
)
def test_an_endpoint_that_is_not_aws_is_told_on_top_in_the_title_and_in_the_figure(
    first: Line, banner: str
) -> None:
    told = made(first, *call("kms:CreateKey"))
    page = html(told)
    assert banner in told.banner
    assert bool(told.banner) is bool(banner)
    assert ("(not AWS)</title>" in page) is bool(banner)
    assert ('<p class="banner">' in page) is bool(banner)
    assert ("not AWS" in told.timeline.title) is bool(banner)


def test_who_did_it_is_named_where_it_is_not_who_opened_the_run() -> None:
    other = "arn:aws:sts::111122223333:assumed-role/Admin/jane@example.com"
    [intent, outcome] = call("kms:CreateKey")
    told = made(opened(), intent | {"operator": other}, outcome, *call("kms:DisableKey", KeyId=KEY))
    [(_, (_, first, second))] = told.done
    assert ("by", other) in first.told
    assert "by" not in dict(second.told)
    assert ("called or approved by", other) in told.summary


# --- what it keeps back

SECRETS = (
    "password=hunter2", "AKIAIOSFODNN7EXAMPLE", "https://jane:swordfish@git.example.com/x",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "ghp_" + "a1B2" * 9, "mail jane@example.com",
)  # fmt: skip
PLANTED = ("hunter2", "AKIAIOSFODNN7", "swordfish", "wJalrXUtn", "ghp_a1B2", "jane@")
KEEPS = {"time", "step", "kind", "status", "call", "target", "outcome", "verdict", "became",
         "when", "seen", "searched_from", "searched_until", "agreement", "Policy",
         "policy"}  # fmt: skip


def planted(value: Any, name: str = "") -> Any:
    """The same with a secret of each kind in each text that is not one of a few fixed words."""
    if isinstance(value, dict):
        return {key: planted(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [planted(one, name) for one in value]
    fixed = name in KEEPS or name == "cells" or (name == "need")
    return value if fixed or not isinstance(value, str) else " ".join((value, *SECRETS))


def test_planted_secrets_are_left_out_wherever_they_are() -> None:
    lines = [one for one in WHOLE if one["kind"] != "records"]
    secret = {"Sid": "AKIAIOSFODNN7EXAMPLE", "Effect": "Deny", "Action": "*", "Resource": "*"}
    result = {"steps": [], "error": {"what": "w", "fix": "f"}, "parameters": {"tags": "t"}}
    told = made(
        *planted(lines),
        *call("iam:PutRolePolicy", RoleName="r", PolicyName="p", PolicyDocument=policy(secret)),
        *call("kms:CreateAlias", Tags=[{"Key": "db", "Value": "x"}], password="hunter2"),
        result=planted(result),
    )
    page = html(told)
    assert [one for one in PLANTED if one in page] == []
    assert page.count("[left out]") > 50


def test_what_a_record_is_not_judged_by_is_not_kept_and_it_reads_the_same() -> None:
    kept = lasting(RAW)
    assert kept["sourceIPAddress"] == kept["userIdentity"]["accessKeyId"] == "…"
    assert parse_record(kept) == parse_record(RAW)
    assert "203.0.113.7" not in str(kept)


# --- the page


class Page(HTMLParser):
    """What a page is made of: each tag with its attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, *names: str) -> Iterator[tuple[str, dict[str, str | None]]]:
        return (one for one in self.tags if one[0] in names)


@pytest.fixture(scope="module")
def text() -> str:
    return html(made(*WHOLE, files=()))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_it_begins_as_a_report_and_two_are_the_same(text: str) -> None:
    assert text.startswith(BEGINNING)
    assert html(made(*WHOLE)) == text


def test_it_asks_for_nothing_and_has_no_script(page: Page, text: str) -> None:
    assert not list(page.of("script", "img", "iframe", "object", "link", "form", "base"))
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.findall(r"url\((?!#)|@import", text)
    [policy] = [one["content"] for _, one in page.of("meta") if one.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "script" not in policy


def test_it_can_be_heard(page: Page) -> None:
    """Language, landmarks, headings in order, tables with captions, a figure in words."""
    assert [one["lang"] for _, one in page.of("html")] == ["en"]
    for landmark in ("header", "nav", "main", "footer"):
        assert len(list(page.of(landmark))) == 1
    levels = [int(tag[1]) for tag, _ in page.of("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(list(page.of("table"))) == len(list(page.of("caption"))) > 5
    assert {one.get("scope") for _, one in page.of("th")} == {"row", "col"}
    [svg] = [one for tag, one in page.of("svg")]
    assert svg["role"] == "img"
    assert "a timeline" in (svg["aria-label"] or "")


def test_each_link_leads_to_a_place_and_no_name_is_given_twice(page: Page) -> None:
    ids = [one["id"] for _, one in page.tags if one.get("id")]
    assert len(ids) == len(set(ids))
    links = [(one["href"] or "")[1:] for _, one in page.of("a")]
    assert len(links) > 10
    assert set(links) <= set(ids)


def test_what_the_ledger_holds_is_text_and_never_markup() -> None:
    bad = "</pre><script>alert(1)</script>"
    lines = [
        opened(operator=bad),
        *call("kms:CreateKey", Description=bad, Policy=policy(ADMINISTRATORS | {"Sid": bad})),
        findings("fail", evidence=bad),
        line("records", records=[seen(caller=bad, record=lasting({**RAW, "eventName": bad}))]),
    ]
    assert "<script" not in html(made(*lines))


def test_the_record_has_what_matters_marked(text: str) -> None:
    assert '<b>"eventSource": "kms.amazonaws.com",  ← must be KMS</b>' in text
    assert '"sourceIPAddress": "…",' in text
