"""Each recommendation, passing, failing and not checked: a table of facts, pure.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from accounts import (
    BAD,
    BAD_TRAIL,
    DENIED,
    GOOD,
    GOOD_TRAIL,
    KMS_KEY,
    ROLE,
    SHARED,
    STOPPED,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    UNREAD,
    USER,
    resource,
    under,
)
from keyrunbook.confidential import sensitive
from keyrunbook.findings import Finding
from keyrunbook.scorecard import RECOMMENDATIONS
from keyrunbook.scorecard.facts import (
    Allowed,
    Endpoint,
    Facts,
    NotRead,
    Resource,
    Resources,
    RootUser,
    Session,
    Unread,
    User,
)
from keyrunbook.scorecard.resources import COMPONENT, IMAGE_RECIPE, INFRASTRUCTURE, WORKFLOW

BY_NAME = {one.name: one for one in RECOMMENDATIONS}
NEVER_CHECKABLE = {"at-rest.service-owned", "logs.not-in-service", "network.https",
                   "network.accounts"}  # fmt: skip
EMPTIER: dict[str, Any] = {"users.individual": {"users": ()}, "trail.logging": {"trails": ()}}
"""What fails only where there is even less."""
KNOWN_ANYWAY = {"users.not-root", "tls.https-only"}
"""What no read is needed for."""


def found(name: str, facts: Facts) -> Finding:
    return BY_NAME[name].finding(facts)


@pytest.mark.parametrize("name", BY_NAME)
def test_it_passes_where_all_is_well_and_fails_where_nothing_is(name: str) -> None:
    good, bad = found(name, GOOD), found(name, replace(BAD, **EMPTIER.get(name, {})))
    if name in NEVER_CHECKABLE:
        assert {good.status, bad.status} == {"not checkable"}
        assert good.mend == ""
        return
    assert (good.status, good.mend) == ("pass", "")
    if name == "at-rest.inventory":  # which is known or not, and never wrong
        assert bad.status == "pass"
        return
    assert bad.status == "fail", bad
    assert bad.mend != ""
    assert bad.evidence != ""


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - NEVER_CHECKABLE - KNOWN_ANYWAY))
def test_what_was_not_read_is_not_checked(name: str) -> None:
    said = found(name, UNREAD)
    if name == "services.fips":  # nobody asked for it
        assert said.status == "not checkable"
        return
    assert said.status == "not checked"
    if not name.startswith("tls."):
        assert "x:Read is missing" in said.evidence


def with_resources(*listed: Resource, unread: tuple[Unread, ...] = ()) -> dict[str, Any]:
    return {"resources": Resources(listed, unread)}


HALF = Unread(COMPONENT, "all components", DENIED)
CASES: list[tuple[str, str, dict[str, Any], str, str]] = [
    # recommendation, what is so, facts, status, evidence
    ("users.individual", "IAM users only", {"identity_center": (), "users": (USER,)},
     "pass", "ann"),
    ("users.individual", "no Identity Center, users unread",
     {"identity_center": (), "users": DENIED}, "not checked", "x:Read"),
    ("users.individual", "Identity Center unread, no users",
     {"identity_center": DENIED, "users": ()}, "not checked", "x:Read"),
    ("users.long-lived-keys", "an active key", {"users": (replace(USER, active_keys=1),)},
     "fail", "ann"),
    ("users.long-lived-keys", "one of many unread",
     {"users": (USER, User("bob", 1, DENIED))}, "not checked", "bob"),
    ("users.long-lived-keys", "one unread, one with a key",
     {"users": (replace(USER, active_keys=2), User("bob", 1, DENIED))}, "fail", "ann"),
    ("users.permissions", "letter case of an action",
     {"allowed": (Allowed("P", "KMS:createkey"),)}, "pass", "1 action"),
    ("users.permissions", "a pattern", {"allowed": (Allowed("P", "kms:Create*"),)},
     "fail", "kms:Create* (P)"),
    ("users.permissions", "all but", {"allowed": (Allowed("P", "NotAction"),)},
     "fail", "NotAction"),
    ("users.permissions", "another action",
     {"allowed": (Allowed("P", "kms:CreateKey"), Allowed("P", "ec2:RunInstances"))},
     "fail", "ec2:RunInstances"),
    ("mfa.users", "no users", {"users": ()}, "pass", "no IAM user"),
    ("mfa.users", "one without", {"users": (USER, User("bob", 0, 0))}, "fail", "bob"),
    ("mfa.users", "one unread", {"users": (User("bob", DENIED, 0),)}, "not checked", "bob"),
    ("mfa.root", "on, but keys", {"root": RootUser(True, True)}, "pass", "on"),
    ("mfa.session", "without", {"session": Session(ROLE, True, False)}, "fail", "false"),
    ("mfa.session", "of Identity Center",
     {"session": Session(ROLE.replace("Operator", "AWSReservedSSO_Ops_1"), True, False)},
     "not checkable", "Identity Center"),
    ("mfa.session", "no record yet",
     {"session": Session(ROLE, True, NotRead("no record of this session yet"))},
     "not checked", "no record"),
    ("tls.required", "1.2", {"endpoints": (Endpoint("AWS KMS", "https://a", TLS_1_2),)},
     "pass", "TLSv1.2 with AWS KMS"),
    ("tls.recommended", "1.2", {"endpoints": (Endpoint("AWS KMS", "https://a", TLS_1_2),)},
     "fail", "AWS KMS: TLSv1.2"),
    ("tls.required", "1.1", {"endpoints": (Endpoint("AWS KMS", "https://a", TLS_1_1),)},
     "fail", "TLSv1.1"),
    ("tls.required", "one of two unknown",
     {"endpoints": (Endpoint("AWS KMS", "https://a", TLS_1_3),
                    Endpoint("AWS STS", "https://b", NotRead("a proxy")))},
     "not checked", "AWS STS: a proxy"),
    ("tls.required", "none known", {"endpoints": ()}, "not checked", "no endpoint"),
    ("tls.https-only", "one of two plain",
     {"endpoints": (Endpoint("AWS KMS", "https://a", TLS_1_3),
                    Endpoint("AWS STS", "http://b", None))},
     "fail", "AWS STS: http://b"),
    ("trail.logging", "no trail", {"trails": ()}, "fail", "there is no trail"),
    ("trail.logging", "stopped", {"trails": (STOPPED,)}, "fail", "none logs: stopped"),
    ("trail.kms-events", "stopped", {"trails": (STOPPED,)}, "not checked", "no trail logs"),
    ("trail.kms-events", "excluded", {"trails": (BAD_TRAIL,)}, "fail", "does not select KMS's"),
    ("trail.kms-events", "one of two", {"trails": (BAD_TRAIL, GOOD_TRAIL)}, "pass", "main"),
    ("trail.logging", "one that may not be read",
     {"trails": (replace(STOPPED, refused=DENIED),)}, "not checked", "x:Read"),
    ("encryption.s3", "no bucket", {"buckets": ()}, "not checked", "no trail"),
    ("services.macie", "paused", {"macie": "PAUSED"}, "fail", "PAUSED"),
    ("services.fips", "not asked for", {"fips_wanted": False}, "not checkable", "use_fips"),
    ("text.image-builder", "part unread", with_resources(resource(WORKFLOW), unread=(HALF,)),
     "not checked", "components"),
    ("text.image-builder", "found although part is unread",
     with_resources(resource(WORKFLOW, texts={"tag a": "a=AKIAIOSFODNN7EXAMPLE"}), unread=(HALF,)),
     "fail", "looks like a secret"),
    ("text.urls", "in a tag, which is another's", with_resources(), "pass", "0 document"),
    ("text.urls", "the line", with_resources(
        resource(COMPONENT, documents={"document": "a\nb\nhttps://u:p@h/\n"})), "fail", "line 3"),
    ("at-rest.workflows", "none yet", with_resources(), "not checked", "no workflow yet"),
    ("at-rest.workflows", "AWS's key", with_resources(
        resource(WORKFLOW, parts=under("arn:aws:kms:us-west-2:111122223333:alias/aws/x"))),
     "fail", "workflow/one"),
    ("at-rest.workflows", "a key of another account", with_resources(
        resource(WORKFLOW, parts=under("arn:aws:kms:us-west-2:444455556666:key/2"))),
     "not checked", "was not read"),
    ("at-rest.inventory", "a key of another account", with_resources(
        resource(WORKFLOW, parts=under("arn:aws:kms:us-west-2:444455556666:key/2"))),
     "not checked", "was not read"),
    ("at-rest.volumes", "none", with_resources(), "not checked", "no recipe names a volume"),
    ("at-rest.volumes", "by EC2's default", with_resources(
        resource(IMAGE_RECIPE, parts=under(None, "volume /dev/xvda"))), "pass", "1 volume"),
    ("at-rest.volumes", "EC2's default unread",
     {"ebs_by_default": DENIED,
      **with_resources(resource(IMAGE_RECIPE, parts=under(None, "volume /dev/xvda")))},
     "not checked", "x:Read"),
    ("logs.kept", "none yet", with_resources(), "not checked", "no infrastructure"),
    ("logs.kept", "one of two", with_resources(
        resource(INFRASTRUCTURE, log_bucket="b"), resource(INFRASTRUCTURE, "two")), "fail", "two"),
    ("network.accounts", "images are shared", with_resources(SHARED), "not checkable",
     "444455556666"),
    ("at-rest.service-owned", "counted", with_resources(
        resource(WORKFLOW, parts=under(None)), resource(WORKFLOW, "b", parts=under(KMS_KEY))),
     "not checkable", "1 customer managed key, 1 service-owned key"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what", "facts", "status", "evidence"), CASES, ids=[f"{c[0]}: {c[1]}" for c in CASES]
)
def test_a_case(name: str, what: str, facts: dict[str, Any], status: str, evidence: str) -> None:
    said = found(name, replace(GOOD, **facts))
    assert (said.status, evidence in said.evidence) == (status, True), said


def test_no_evidence_repeats_what_is_confidential() -> None:
    secret = "password=hunter2"
    texts = {f"tag {secret}": secret, "description": "ann@example.com", "name": "ann@example.com"}
    listed = with_resources(
        resource(WORKFLOW, texts=texts, documents={"document": f"https://u:{secret}@example.com"})
    )
    for one in RECOMMENDATIONS:
        said = one.finding(replace(BAD, **listed))
        if one.name.startswith("text."):
            assert sensitive(said.evidence) is None, said
        assert "hunter2" not in said.evidence


def test_a_long_list_is_counted() -> None:
    many = tuple(User(f"u{number}", 0, 0) for number in range(9))
    assert found("mfa.users", replace(GOOD, users=many)).evidence.endswith("u4 and 4 more")


def test_names_are_one_each_and_the_page_s_words_are_not_copied() -> None:
    names = [one.name for one in RECOMMENDATIONS]
    assert len(set(names)) == len(names)
    assert len({one.statement for one in RECOMMENDATIONS}) == len(names)
    for one in RECOMMENDATIONS:
        assert one.says.endswith(".")
        assert bool(one.mend) == (one.name not in NEVER_CHECKABLE)
