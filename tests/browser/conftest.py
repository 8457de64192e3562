"""What `make test-browser` runs on: one browser, and a fresh JupyterLab for each test with one.

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
from keyrunbook import policies, sandboxes
from keyrunbook.aws.clients import sandbox_clients
from keyrunbook.sandboxes import Handoff
from looks import HEIGHT, WIDE, Looks
from playwright.sync_api import Browser, Page, expect, sync_playwright
from served_lab import EVENT_DELAY_S, Lab, copy_of_the_project

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
PATIENCE_MS = 30_000
"""How long a state is waited for, on a machine that is busy."""


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
    expect.set_options(timeout=PATIENCE_MS)
    if chromium() is None:
        chosen = os.environ.get("CHROME")
        raise pytest.UsageError(f"CHROME={chosen} is no program" if chosen else NO_CHROMIUM)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes, one has JupyterLab and what stands for AWS."""
    for item in items:
        group = "lab" if "lab" in getattr(item, "fixturenames", ()) else "pages"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A fresh browser without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS])
        yield started
        started.close()


@pytest.fixture(scope="session")
def looks(request: pytest.FixtureRequest) -> Looks:
    """Judges pages in both themes and in a narrow window; keeps pictures where they are wanted."""
    folder = request.config.getoption("--screenshots")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return Looks(folder)


@pytest.fixture(scope="session")
def aws() -> Iterator[Handoff]:
    """What stands for AWS: another sandbox, with the execution role and a late CloudTrail."""
    with sandboxes.start_private("--event-delay", str(EVENT_DELAY_S)) as own:
        handoff = own.ready()
        trust = policies.to_text(policies.trust_policy(handoff.account))
        iam = sandbox_clients(handoff)("iam")
        iam.create_role(RoleName="ImageBuilderExecutionRole", AssumeRolePolicyDocument=trust)
        yield handoff


@pytest.fixture
def lab(tmp_path: Path, aws: Handoff) -> Iterator[Lab]:
    """JupyterLab at its first start, beside a sandbox of its own; the environment leads to `aws`.

    It works on a copy of the project.
    """
    served = Lab(
        copy_of_the_project(tmp_path / "project"),
        tmp_path / "outputs",
        AWS_ENDPOINT_URL=aws.endpoint_url,
        AWS_ACCESS_KEY_ID=aws.access_key_id,
        AWS_SECRET_ACCESS_KEY=aws.secret_access_key,
        AWS_DEFAULT_REGION=aws.region,
    )
    served.start()
    yield served
    served.end()


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
def bare_page(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    """A page in a browser that knows nothing yet; of a test that failed there is a picture."""
    context = browser.new_context(
        viewport={"width": WIDE, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    opened, watched = context.new_page(), Watched()
    watched.watch(opened)
    yield opened
    if request.node.stash.get(FAILED, False):
        opened.screenshot(path=tmp_path / "failed.png")
        print(f"what was in sight: {tmp_path / 'failed.png'}")
    context.close()
    assert watched.left == [], "asked of other machines"
    assert watched.errors == [], "errors in the browser's console"


@pytest.fixture
def page(lab: Lab, bare_page: Page) -> Page:
    """The same, for JupyterLab, which goes on when the page is closed."""
    return bare_page
