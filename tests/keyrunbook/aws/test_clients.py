"""The clients of a run: what they send again, who they say they are, where they go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from botocore.exceptions import ConnectionClosedError
from keyrunbook.aws.clients import MAX_ATTEMPTS, Clients, aws_clients, sandbox_clients
from keyrunbook.sandboxes import start_private


def retries(client: object) -> tuple[str, int]:
    found = client.meta.config.retries  # type: ignore[attr-defined]
    return found["mode"], found["total_max_attempts"]


@pytest.fixture
def on_aws(monkeypatch: pytest.MonkeyPatch) -> Clients:
    """Clients for AWS that no test sends anything with."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    return aws_clients(None, "us-west-2")


def test_on_aws_the_retries_adapt(on_aws: Clients) -> None:
    assert retries(on_aws("kms")) == ("adaptive", MAX_ATTEMPTS)
    assert retries(on_aws.once("kms")) == ("standard", 1)
    assert on_aws("kms") is on_aws("kms") is not on_aws.once("kms")


@pytest.mark.e2e
def test_a_call_sent_once_makes_one_key_where_the_sdk_would_make_two(tmp_path: Path) -> None:
    """The connection is reset after KMS has made the key."""
    rule = {"service": "kms", "operation": "CreateKey", "fault": "reset_after", "times": 2}
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([rule]))
    with start_private("--faults", str(faults)) as sandbox:
        clients = sandbox_clients(sandbox.ready())
        assert retries(clients("kms")) == ("standard", MAX_ATTEMPTS)
        with pytest.raises(ConnectionClosedError):
            clients.once("kms").create_key()
        assert len(clients("kms").list_keys()["Keys"]) == 1
        clients("kms").create_key()
        assert len(clients("kms").list_keys()["Keys"]) == 3
