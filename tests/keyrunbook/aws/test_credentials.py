"""Credentials come from the AWS SDK's own chain, each way of it; what is wrong is said in words."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from keyrunbook.aws.clients import Clients, aws_clients
from keyrunbook.errors import CredentialsMissing, ParameterError, RunbookError
from keyrunbook.sandboxes import Handoff, Sandbox

pytestmark = pytest.mark.e2e

Configure = Callable[..., None]


@pytest.fixture
def handoff(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Handoff:
    """A sandbox to which endpoint variables send what is meant for AWS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", sandbox.ready().endpoint_url)
    return sandbox.ready()


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Writes the SDK's two files."""

    def write(config: str, credentials: str = "") -> None:
        for name, text in (("CONFIG", config), ("SHARED_CREDENTIALS", credentials)):
            path = tmp_path / name.lower()
            path.write_text(text)
            monkeypatch.setenv(f"AWS_{name}_FILE", str(path))

    return write


def keys(handoff: Handoff) -> str:
    return (
        f"aws_access_key_id = {handoff.access_key_id}\n"
        f"aws_secret_access_key = {handoff.secret_access_key}\n"
    )


def test_a_profile(handoff: Handoff, configure: Configure) -> None:
    configure("[profile images]\nregion = eu-west-1\n", f"[images]\n{keys(handoff)}")
    clients = aws_clients("images", None)
    assert clients.identity.account == handoff.account
    assert clients.region == "eu-west-1"
    assert aws_clients("images", "us-west-2").region == "us-west-2"


def test_a_profile_named_by_the_environment(
    handoff: Handoff, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("[profile images]\nregion = eu-west-1\n", f"[images]\n{keys(handoff)}")
    monkeypatch.setenv("AWS_PROFILE", "images")
    assert aws_clients(None, None).region == "eu-west-1"


def test_the_environment(handoff: Handoff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", handoff.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", handoff.secret_access_key)
    assert aws_clients(None, "us-west-2").identity.account == handoff.account


def test_a_profile_that_assumes_a_role(
    handoff: Handoff, configure: Configure, clients: Clients
) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": handoff.account},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = clients("iam").create_role(RoleName="Op", AssumeRolePolicyDocument=json.dumps(trust))
    configure(
        "[profile operator]\nregion = us-west-2\nsource_profile = base\n"
        f"role_arn = {role['Role']['Arn']}\nrole_session_name = ann\n",
        f"[base]\n{keys(handoff)}",
    )
    for read_only in (False, True):  # to assume a role is not one of the run's calls
        operator = aws_clients("operator", None, read_only=read_only).identity
        assert operator.arn.endswith(":assumed-role/Op/ann")


def test_a_profile_that_asks_for_an_mfa_code_where_nobody_can_type(
    handoff: Handoff, configure: Configure
) -> None:
    iam = f"arn:aws:iam::{handoff.account}"
    configure(
        "[profile operator]\nregion = us-west-2\nsource_profile = base\n"
        f"role_arn = {iam}:role/Op\nmfa_serial = {iam}:mfa/ann\n",
        f"[base]\n{keys(handoff)}",
    )
    code = "from keyrunbook.aws.clients import aws_clients; aws_clients('operator', None).identity"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,  # no terminal
        timeout=60,
        check=False,
    )
    assert "CredentialsMissing: The profile asks for an MFA code" in done.stderr, done.stderr


def test_a_process_that_gives_credentials(
    handoff: Handoff, configure: Configure, tmp_path: Path
) -> None:
    told = {
        "Version": 1,
        "AccessKeyId": handoff.access_key_id,
        "SecretAccessKey": handoff.secret_access_key,
    }
    script = tmp_path / "give.py"
    script.write_text(f"print({json.dumps(told)!r})")
    configure(f"[profile given]\ncredential_process = {shlex.quote(sys.executable)} {script}\n")
    assert aws_clients("given", "us-west-2").identity.account == handoff.account


SSO = """
[sso-session work]
sso_start_url = https://work.example.com/start
sso_region = us-west-2
sso_registration_scopes = sso:account:access
[profile single]
sso_session = work
sso_account_id = 111122223333
sso_role_name = Operator
[profile legacy]
sso_start_url = https://work.example.com/start
sso_region = us-west-2
sso_account_id = 111122223333
sso_role_name = Operator
[profile away]
role_arn = arn:aws:iam::111122223333:role/Op
source_profile = nowhere
[profile around]
role_arn = arn:aws:iam::111122223333:role/Op
source_profile = around
[profile bare]
region = us-west-2
[profile failing]
credential_process = false
"""

WRONG: list[tuple[str | None, type[RunbookError], str, str]] = [
    ("single", CredentialsMissing, "", "aws sso login"),
    ("legacy", CredentialsMissing, "", "aws sso login"),
    ("away", CredentialsMissing, '"nowhere"', "Correct what it names"),
    ("around", CredentialsMissing, "around", "Correct what it names"),
    ("failing", CredentialsMissing, "custom-process", "Correct what it names"),
    ("bare", CredentialsMissing, "found no credentials", "aws sso login"),
    ("unknown", ParameterError, "(unknown)", "--profile"),
]


@pytest.mark.parametrize(("profile", "error", "what", "fix"), WRONG, ids=[str(w[0]) for w in WRONG])
def test_what_is_wrong_is_said(
    handoff: Handoff,
    configure: Configure,
    profile: str,
    error: type[RunbookError],
    what: str,
    fix: str,
) -> None:
    configure(SSO)
    with pytest.raises(error) as caught:
        _ = aws_clients(profile, "us-west-2").identity
    assert type(caught.value) is error
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert ".." not in caught.value.what
    assert caught.value.what.endswith(".")


CHILD = """
from keyrunbook.aws.clients import aws_clients
from keyrunbook.errors import CredentialsMissing
for profile in ("single", "legacy"):
    try:
        aws_clients(profile, "us-west-2").identity
    except CredentialsMissing as error:
        print(error)
"""


def test_an_expired_sso_token_asks_for_a_new_login(
    handoff: Handoff, configure: Configure, tmp_path: Path
) -> None:
    """The tokens that `aws sso login` leaves in the user's home, long past their time."""
    configure(SSO)
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    start = "https://work.example.com/start"
    token = {"startUrl": start, "accessToken": "old", "expiresAt": "2020-01-01T00:00:00Z"}
    for name in ("work", start):
        path = cache / f"{hashlib.sha1(name.encode()).hexdigest()}.json"
        path.write_text(json.dumps(token))
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("Log in again: aws sso login") == 2
    assert done.stdout.count("expired") == 2
    assert ".." not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", "Log in"),  # and no secret with it
        ("AWS_CONFIG_FILE", "broken", "Correct what it names"),
    ],
)
def test_half_of_a_configuration(
    handoff: Handoff,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    value: str,
    fix: str,
) -> None:
    if value == "broken":
        path = tmp_path / "config"
        path.write_text("not a section\n")
        value = str(path)
    monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsMissing) as caught:
        aws_clients(None, "us-west-2")
    assert fix in caught.value.fix
