"""What holds for every test: a skipped check is counted, and where `TESTS_MAY_SKIP=0` it fails the run."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["tests.tables"]

# A busy machine says nothing about a property.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or os.environ.get("TESTS_MAY_SKIP") != "0":
        return
    skipped = len(reporter.stats.get("skipped", []))
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{skipped} tests were skipped, and TESTS_MAY_SKIP=0 allows none", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
