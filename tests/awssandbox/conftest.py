"""Running sandboxes for the tests: see `served` for what they offer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from awssandbox.clock import Clock
from awssandbox.server import Application, Server
from awssandbox.world import World
from served import START, Served


@pytest.fixture
def sandboxes() -> Iterator[Callable[..., Served]]:
    """Makes running sandboxes; the arguments are those of `World`. All end with the test."""
    servers: list[tuple[Server, threading.Thread]] = []
    made: list[Served] = []

    def make(**options: Any) -> Served:
        options.setdefault("seed", 1)
        options.setdefault("clock", Clock(START))
        world = World(**options)
        server = Server(Application(world), "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        servers.append((server, thread))
        keys = world.iam.administrator(world.account)
        credentials = (keys.access_key_id, keys.secret_access_key, None)
        made.append(Served(world, server.url, credentials))
        return made[-1]

    yield make
    for client in [client for served in made for client in served.clients]:
        client.close()
    for server, thread in servers:
        server.stop()
        thread.join(timeout=5)


@pytest.fixture
def sandbox(sandboxes: Callable[..., Served]) -> Served:
    """One running sandbox with seed and clock fixed."""
    return sandboxes()
