"""What every test stands on: an environment of its own; and the order, the fast ones first."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import hypothesis
import pytest

# How long one example takes says more about the machine than about the code.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

FOREIGN = ("AWS_", "KEYRUNBOOK_", "JUPYTER", "IPYTHON", "XDG_", "NBVAL_")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The contract's tests on an AWS account; without these they run on the sandbox."""
    group = parser.getgroup("live", "tests/contract on an AWS account")
    group.addoption("--live", action="store_true", help="run tests/contract on AWS; costs money")
    group.addoption("--live-account", metavar="NUMBER", help="the account that it may be")
    group.addoption("--live-region", metavar="REGION", help="the Region to work in")
    group.addoption("--live-profile", metavar="NAME", help="profile; default: the SDK's chain")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing of the caller's AWS configuration, Jupyter settings or running sandbox counts.

    Processes that tests start inherit it. A test that wants one of these variables sets it. With
    --live the caller's AWS configuration counts, and tests/contract alone is run.
    """
    if config.getoption("--live"):
        for name in ("--live-account", "--live-region"):
            if config.getoption(name) is None:
                raise pytest.UsageError(f"--live changes an AWS account: it needs {name}")
        return
    home = tempfile.TemporaryDirectory(prefix="home-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ["HOME"] = home.name
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # no credentials of the machine's own role
    os.environ["MPLBACKEND"] = "agg"
    # Kept from one run to the next: matplotlib takes seconds to list a machine's fonts.
    os.environ["MPLCONFIGDIR"] = str(config.rootpath / ".pytest_cache" / "matplotlib")


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Tells a line at the end of all tests: what was counted, also where several run at once."""
    return lambda line: record_property("told", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests told."""
    told = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == "told"
    ]
    if told:
        terminalreporter.section("counted")
        for line in told:
            terminalreporter.write_line(str(line))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The fast ones, the tools over the whole repository, servers and kernels, the notebooks."""
    if config.getoption("--live") and any(item.path.parent.name != "contract" for item in items):
        raise pytest.UsageError(
            "--live is for tests/contract alone: pytest tests/contract --live …"
        )
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if item.path.name == "test_nbval.py":
        return 3
    if item.get_closest_marker("e2e"):
        return 2
    return 1 if item.path.name == "test_static.py" else 0
