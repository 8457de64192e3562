"""A client keeps its connection between calls, however many clients there are: a run has twenty."""

from __future__ import annotations

import http.client
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import pytest
from served import Served

pytestmark = pytest.mark.e2e


def test_the_connections_of_many_clients_are_kept(sandbox: Served) -> None:
    place = urlsplit(sandbox.url).netloc
    with ExitStack() as ending:
        connections = [
            ending.enter_context(closing(http.client.HTTPConnection(place, timeout=20)))
            for _ in range(40)
        ]
        kept = []
        for _ in range(2):
            for one in connections:
                one.request("GET", "/")
                answer = one.getresponse()
                answer.read()
                kept.append(not answer.will_close)
    assert kept == [True] * 80
