"""The options that take the contract to an AWS account: nothing is made anywhere but as asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyrunbook.sandboxes import Handoff, start_private

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def _on_the_sandbox_only(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--live"):
        pytest.skip("the options themselves are tested without an account")


TESTS = Path(__file__).parent
REGION = ("--live-region", "us-west-2")


def pytest_run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--live", *words],
        cwd=TESTS.parents[1],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((str(TESTS), *REGION), "it needs --live-account"),
        (
            (
                str(TESTS.parent / "house" / "test_static.py"),
                "--live-account",
                "111122223333",
                *REGION,
            ),
            "--live is for tests/contract alone",
        ),
    ],
)
def test_what_is_missing_is_said(words: tuple[str, ...], told: str) -> None:
    done = pytest_run(*words)
    assert done.returncode == 4
    assert told in done.stdout + done.stderr


@pytest.fixture(scope="module")
def handoff() -> Iterator[Handoff]:
    with start_private() as sandbox:
        yield sandbox.ready()


@pytest.mark.parametrize("right", [True, False])
def test_the_account_must_be_the_one_that_was_named(handoff: Handoff, right: bool) -> None:
    """Endpoint variables send what is meant for AWS to a sandbox."""
    done = pytest_run(
        f"{TESTS / 'test_contract.py'}::test_keys_and_aliases_are_found_by_name_and_listed",
        "--live-account",
        handoff.account if right else "444455556666",
        *REGION,
        AWS_ENDPOINT_URL=handoff.endpoint_url,
        AWS_ACCESS_KEY_ID=handoff.access_key_id,
        AWS_SECRET_ACCESS_KEY=handoff.secret_access_key,
    )
    told = done.stdout + done.stderr
    assert done.returncode == (0 if right else 4), told
    assert ("1 passed" if right else "nothing was made") in told
