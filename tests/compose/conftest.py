"""The stack of docker-compose.yml, started once, and a table of what took how long and how large our images are."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.compose import engine
from tests.compose.stack import TAG, ComposeStack

_HERE = Path(__file__).parent
BASE = "python:3.13-slim"
IMAGES = ("worker", "gateway", "mock")
_REPORT = pytest.StashKey[list[str]]()
_START_WITHIN = 600  # seconds: the first test also builds the images, which is one download of all packages


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.timeout(_START_WITHIN))


@pytest.fixture(scope="session")
def engine_answers() -> None:
    """Skips where there is no Docker engine."""
    if reason := engine.why_not():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def images(engine_answers: None, request: pytest.FixtureRequest) -> dict[str, str]:
    """Our images, built, by their target."""
    del engine_answers
    built = {name: f"incident-commander/{name}:{TAG}" for name in IMAGES}
    stack = ComposeStack("incident-commander-build")
    stack.timed("build", lambda: stack.compose("build", "payment-api", "gateway", "worker"))
    _report(request.config, *_rows(stack))
    for name, image in built.items():
        megabytes = engine.bytes_above(BASE, image) / 1e6
        _report(request.config, f"  {megabytes:7.1f} MB  our layers of the image {name}")
    return built


@pytest.fixture(scope="session")
def stack(images: dict[str, str], request: pytest.FixtureRequest) -> Iterator[ComposeStack]:
    """The whole file, up."""
    del images
    started = ComposeStack(f"incident-commander-test-{uuid4().hex[:8]}")
    try:
        started.timed("up, until everything is healthy", started.up)
        yield started
    finally:
        started.close()
        _report(request.config, *_rows(started))


def _rows(stack: ComposeStack) -> list[str]:
    return [f"  {took:7.1f} s   {what}" for what, took in stack.times.items()]


def _report(config: pytest.Config, *rows: str) -> None:
    config.stash.setdefault(_REPORT, []).extend(rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows := config.stash.get(_REPORT, []):
        terminalreporter.section("docker compose")
        for row in rows:
            terminalreporter.write_line(row)
