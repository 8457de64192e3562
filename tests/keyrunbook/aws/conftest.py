"""A private sandbox that the tests of the edges share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.sandboxes import Sandbox, start_private


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with start_private("--event-delay", "0") as started:
        started.ready()
        yield started


@pytest.fixture
def clients(sandbox: Sandbox) -> Clients:
    """Fresh clients: event handlers that a test registers stay with it."""
    sandbox_clients.cache_clear()
    return sandbox_clients(sandbox.ready())
