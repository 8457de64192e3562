"""One browser and one JupyterLab for all tests here; `make test-browser` runs them.

No page may ask anything of another machine or log an error in its console: the fixture `page`
ends each test with that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from in_browser import Watched
from playwright.sync_api import Browser, Page, sync_playwright
from served_lab import Lab, copy_of_the_project

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NO_CHROMIUM = (
    f"no browser: none of {', '.join(CHROMIUM)} is on the PATH. Install one, on Debian and Ubuntu "
    "by `apt-get install chromium`, or name it: CHROME=/path/to/chrome make test-browser"
)
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
WIDE = {"width": 1280, "height": 900}


def chromium() -> str | None:
    """The browser: `CHROME`, or the first one that is installed."""
    names = (os.environ["CHROME"],) if os.environ.get("CHROME") else CHROMIUM
    return next((path for name in names if (path := shutil.which(name))), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where pictures of what was tested go."""
    parser.getgroup("browser").addoption(
        "--screenshots", metavar="DIR", type=Path, help="keep pictures of the pages there"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say in one line what is missing."""
    if chromium() is None:
        chosen = os.environ.get("CHROME")
        raise pytest.UsageError(f"CHROME={chosen} is no program" if chosen else NO_CHROMIUM)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A fresh browser without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS])
        yield started
        started.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, for JupyterLab to write to."""
    return copy_of_the_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def served(project: Path) -> Iterator[Lab]:
    """JupyterLab beside a sandbox, for all tests."""
    served = Lab(project, project / "outputs")
    served.start()
    yield served
    served.end()


@pytest.fixture
def lab(served: Lab) -> Iterator[Lab]:
    """JupyterLab as it is after its first start, without runs, kernels and open tabs."""
    yield served
    served.forget()


@pytest.fixture
def watched() -> Watched:
    """What goes on behind the pages of a test."""
    return Watched()


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell fixtures whether their test failed."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def page(
    browser: Browser, lab: Lab, watched: Watched, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Page]:
    """A page in a browser that knows nothing yet; of a test that failed there is a picture."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    opened = context.new_page()
    watched.watch(opened)
    yield opened
    if request.node.stash.get(FAILED, False):
        opened.screenshot(path=tmp_path / "failed.png")
        print(f"what was in sight: {tmp_path / 'failed.png'}")
    context.close()
    assert watched.left == [], "asked of other machines"
    assert watched.errors == [], "errors in the browser's console"
