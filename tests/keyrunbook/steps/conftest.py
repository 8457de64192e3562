"""A private sandbox that the tests of the steps share, and a job on it with names of its own."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import Job
from keyrunbook import policies
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.sandboxes import HANDED_OVER, Sandbox, start_private


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with start_private() as started:
        started.ready()
        yield started


@pytest.fixture
def on_sandbox(shared_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The shared sandbox, handed over by the environment."""
    monkeypatch.setenv(HANDED_OVER, str(shared_sandbox.path))
    return shared_sandbox


@pytest.fixture
def new_job(
    on_sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[..., Job]:
    """Makes jobs on the shared sandbox."""
    word = f"j{zlib.crc32(request.node.nodeid.encode()):x}"
    return lambda more="", **given: Job(tmp_path, word + more, **given)


@pytest.fixture
def job(new_job: Callable[..., Job]) -> Job:
    return new_job()


@pytest.fixture
def aws(on_sandbox: Sandbox) -> Clients:
    """Clients of the account's administrator: what happens behind the run's back."""
    return sandbox_clients(on_sandbox.ready())


@pytest.fixture
def on_aws(
    on_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, new_job: Callable[..., Job], aws: Clients
) -> Job:
    """A job on the target aws, whose endpoints are the sandbox's, with a role that is there."""
    handoff = on_sandbox.ready()
    monkeypatch.delenv(HANDED_OVER)
    monkeypatch.setenv("AWS_ENDPOINT_URL", handoff.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", handoff.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", handoff.secret_access_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", handoff.region)
    job = new_job(target="aws", event_wait_seconds=10, settle_seconds=1)
    trust = policies.to_text(policies.trust_policy(aws.identity.account))
    aws("iam").create_role(RoleName=job.given["execution_role"], AssumeRolePolicyDocument=trust)
    return job
