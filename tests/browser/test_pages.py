"""The site of `make docs`: nothing shuts people out, in either theme, or narrow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from keyrunbook.parameters import project_dir
from looks import Looks, violations
from playwright.sync_api import Page

pytestmark = pytest.mark.e2e

SITE = project_dir() / "build" / "site"
A_PAGE_OF_EACH_KIND = (
    "index",
    "tutorial/notebooks/04_confirm_events",
    "how-to/refused",
    "reference/parameters",
    "search",
)


class Quiet(SimpleHTTPRequestHandler):
    """Files, without a line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the site's folder, served as a web server would."""
    assert (SITE / "index.html").is_file(), "`make docs` makes the site"
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", A_PAGE_OF_EACH_KIND)
def test_a_page_is_for_everybody_in_each_look(
    bare_page: Page, looks: Looks, site: str, name: str
) -> None:
    bare_page.goto(f"{site}/{name}.html")
    looks.check(bare_page, f"site-{name.replace('/', '-')}")


def test_each_page_is_for_everybody(bare_page: Page, site: str) -> None:
    found = {}
    for path in sorted(SITE.rglob("*.html")):
        name = path.relative_to(SITE).as_posix()
        if not name.startswith("_static/"):
            bare_page.goto(f"{site}/{name}")
            found[name] = list(violations(bare_page))
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
