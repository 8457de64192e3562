"""Where the contract is tested: on a sandbox of its own, or with --live on an AWS account.

The tests are the same. Each makes what it needs under names of its own and removes it at its end,
also when it fails. A key cannot be removed at once: it is scheduled for deletion after seven days,
during which AWS charges nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from contract_place import Place
from keyrunbook.aws.clients import Clients, aws_clients, sandbox_clients
from keyrunbook.sandboxes import start_private


@pytest.fixture(scope="session")
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    """The administrator's clients, of the sandbox or of the account that --live-account names."""
    option = request.config.getoption
    if not option("--live"):
        with start_private("--event-delay", "0") as sandbox:
            yield sandbox_clients(sandbox.ready())
        return
    live = aws_clients(option("--live-profile"), option("--live-region"))
    if live.identity.account != option("--live-account"):
        pytest.exit(
            f"--live-account is {option('--live-account')}; {live.identity.arn} is of another: "
            "nothing was made",
            returncode=4,
        )
    yield live


@pytest.fixture
def place(clients: Clients) -> Iterator[Place]:
    with ExitStack() as ending:
        yield Place(clients, ending)
