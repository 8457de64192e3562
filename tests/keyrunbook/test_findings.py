"""Findings: pass, fail, or not checked; the last is never a pass, and no failure either."""

from __future__ import annotations

import json

from keyrunbook.findings import Finding, Findings

PASS = Finding("The key rotates", "pass", "every 365 days")
FAIL = Finding("The key is enabled", "fail", "it is Disabled", "Enable it.")
NOT_CHECKED = Finding("The trail is on", "not checked", "DescribeTrails was refused")


def test_a_finding_as_the_ledger_holds_it() -> None:
    assert FAIL.to_dict() == {
        "statement": "The key is enabled",
        "status": "fail",
        "evidence": "it is Disabled",
        "mend": "Enable it.",
    }
    assert PASS.to_dict()["mend"] == ""
    assert json.loads(json.dumps(FAIL.to_dict())) == FAIL.to_dict()


def test_those_that_failed() -> None:
    findings = Findings([PASS, FAIL, NOT_CHECKED])
    assert findings.failed() == [FAIL]
    assert isinstance(findings.failed(), Findings)


def test_findings_show_as_a_table() -> None:
    shown = Findings([PASS, FAIL, NOT_CHECKED])._repr_mimebundle_()
    assert {"text/plain", "text/html"} <= shown.keys()
    for finding in (PASS, FAIL, NOT_CHECKED):
        assert finding.statement in shown["text/plain"]
        assert finding.evidence in shown["text/html"]
