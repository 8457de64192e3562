"""What looks confidential is refused; ordinary names, ARNs and texts are not."""

from __future__ import annotations

import base64
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.confidential import (
    LEFT_OUT,
    sensitive,
    sensitive_description,
    without_secrets,
)

CONFIDENTIAL = [
    ("jane@example.com", "an e-mail address"),
    ("owner: jane.doe+aws@mail.example.co.uk, please", "an e-mail address"),
    ("arn:aws:sts::111122223333:assumed-role/Admin/jane@example.com", "an e-mail address"),
    ("https://jane:hunter2@git.example.com/repo", "a URL with credentials"),
    ("postgresql://app:p%40ss@db.internal:5432/x", "a URL with credentials"),
    ("redis://:hunter2@cache:6379", "a URL with credentials"),
    ("https://b.s3.amazonaws.com/k?X-Amz-Credential=AK%2F1", "a URL with credentials"),
    ("https://b.s3.amazonaws.com/k?a=b&X-Amz-Signature=00", "a URL with credentials"),
    ("AKIAIOSFODNN7EXAMPLE", "a secret"),
    ("key ASIAIOSFODNN7EXAMPLE.", "a secret"),
    ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "a secret"),
    ("-----BEGIN RSA PRIVATE KEY-----", "a secret"),
    ("-----BEGIN PRIVATE KEY-----", "a secret"),
    ("ghp_" + "a1B2" * 9, "a secret"),
    ("github_pat_" + "a1B2" * 9, "a secret"),
    ("glpat-" + "a1B2" * 5, "a secret"),
    ("xoxb-" + "123456789012-" * 2, "a secret"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "a secret"),
    ("password: hunter2", "a secret"),
    ("PASSWORD=hunter2", "a secret"),
    ("db_password=hunter2", "a secret"),
    ("aws_secret_access_key = x", "a secret"),
    ("client-secret=x", "a secret"),
    ("api_key:x", "a secret"),
    ("apikey=x", "a secret"),
]


@pytest.mark.parametrize(("text", "kind"), CONFIDENTIAL)
def test_confidential(text: str, kind: str) -> None:
    assert sensitive(text) == kind


ORDINARY = [
    "",
    "encrypted-build",
    "team: platform, cost centre 4711",
    "alias/imagebuilder-workflows",
    "alias/MyTeam/ImageBuilder/Workflow2024abc",
    "Production/ImageBuilder/Golden/Image2024",
    "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
    "arn:aws-us-gov:iam::111122223333:role/Service/ImageBuilder/ExecutionRole1",
    "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/sample-encrypted-workflow/1.0.0/1",
    "arn:aws:secretsmanager:us-west-2:111122223333:secret:prod/db-AbCdEf",
    "arn:aws:ssm:us-west-2:111122223333:parameter/token",
    "https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html",
    "https://example.com:8443/a@b",
    "s3://bucket/workflows/build.yaml",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "a@b",
    "@team",
    "rotates the tokens: weekly",
    "Keeps no password at all",
    "secret-santa",
    "2024-01-31T09:00:00Z",
    "YOURTEAMAKIAMAKIAMAKIAMAK1A",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary(text: str) -> None:
    assert sensitive(text) is None


def test_a_random_secret_access_key_is_seen() -> None:
    source = random.Random(7)
    keys = [base64.b64encode(source.randbytes(30)).decode() for _ in range(2000)]
    missed = [key for key in keys if sensitive(key) is None]
    assert len(missed) / len(keys) < 0.02


WORDS = [
    "Image",
    "Builder",
    "Workflow",
    "Golden",
    "Team",
    "2024",
    "Prod",
    "linux",
    "Amazon",
    "arm64",
]


@given(st.lists(st.sampled_from(WORDS), min_size=5, max_size=12), st.sampled_from(["", "/"]))
def test_a_path_of_words_is_no_secret(words: list[str], between: str) -> None:
    assert sensitive(between.join(words)[:40]) is None


@given(st.uuids().map(str), st.from_regex(r"[a-z][a-z0-9-]{2,40}", fullmatch=True))
def test_identifiers_are_no_secrets(key_id: str, name: str) -> None:
    assert sensitive(f"arn:aws:kms:eu-west-1:111122223333:key/{key_id}") is None
    assert (
        sensitive(f"arn:aws:imagebuilder:eu-west-1:111122223333:workflow/test/{name}/1.0.0/1")
        is None
    )


@given(st.text(string.printable))
def test_any_text_is_judged(text: str) -> None:
    assert sensitive(text) in (None, "an e-mail address", "a secret", "a URL with credentials")


DOCUMENT = """\
name: build
description: {description}
schemaVersion: 1.0
steps:
  - name: Launch
    action: LaunchInstance
    description: {of_a_step}
    inputs:
      waitFor: jane@example.com
"""


@pytest.mark.parametrize(
    ("description", "of_a_step", "found"),
    [
        ("Builds it.", "Launches it.", None),
        ("Ask jane@example.com.", "Launches it.", (2, "an e-mail address")),
        ("Builds it.", "'password: hunter2'", (7, "a secret")),
        (">-\n  Clones\n  https://a:b@c/", "Launches it.", (2, "a URL with credentials")),
    ],
)
def test_names_and_descriptions_of_a_document(
    description: str, of_a_step: str, found: tuple[int, str] | None
) -> None:
    text = DOCUMENT.format(description=description, of_a_step=of_a_step)
    assert sensitive_description(text) == found


def test_a_document_that_holds_itself() -> None:
    assert sensitive_description("&a\ndescription: x\nsteps: [*a, *a]\n") is None


def test_an_empty_document() -> None:
    assert sensitive_description("") is None


SESSION = "arn:aws:sts::111122223333:assumed-role/Admin/jane@example.com"


@pytest.mark.parametrize(("text", "_"), CONFIDENTIAL)
def test_what_looks_confidential_is_left_out(text: str, _: str) -> None:
    left = without_secrets(f"see {text}")
    if text == SESSION:  # names who called
        assert left == f"see {SESSION}"
    else:
        assert sensitive(left) is None
        assert LEFT_OUT in left


@pytest.mark.parametrize("text", ORDINARY)
def test_what_does_not_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


LEAVES_OUT = [
    ("password: hunter2, then go on", "password [left out], then go on"),
    ('PASSWORD="two words" done', "PASSWORD [left out] done"),
    ("{\"db_password\": \"hunter2\"}", '{"db_password": "[left out]"}'),
    ("https://jane:hunter2@example.com/x", "https://[left out]@example.com/x"),
    ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nx", "[left out]\nx"),
    ("-----BEGIN PRIVATE KEY-----\nMIIE", "[left out]"),
    ({"n": 1, "a": ["jane@example.com", None]}, {"n": 1, "a": ["[left out]", None]}),
    ({"SecretAccessKey": "abc"}, {"SecretAccessKey": "[left out]"}),
    ({"aws:TokenIssueTime": "abc"}, {"aws:TokenIssueTime": "abc"}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "left"), LEAVES_OUT)
def test_what_is_left_of_it(value: object, left: object) -> None:
    assert without_secrets(value) == left
