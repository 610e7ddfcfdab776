"""The seed contract's own replay against a real process; the live profile shows that the replay can fail."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REPLAY = Path(__file__).with_name("seed") / "replay.py"
READY_WITHIN = 20.0
BETWEEN_TRIES = 0.05
STOPPED_WITHIN = 2.0
REPLAYED_WITHIN = 120.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN
    with httpx.Client(timeout=1) as client:
        while time.monotonic() < deadline:
            assert process.poll() is None, f"the service ended with {process.returncode}"
            try:
                if client.get(f"{url}/health").status_code == 200:
                    return
            except httpx.TransportError:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(BETWEEN_TRIES)
    pytest.fail(f"no answer from {url} within {READY_WITHIN} s")


@contextmanager
def service(profile: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "MOCK_PROFILE": profile, "MOCK_HOST": "127.0.0.1"}
    process = subprocess.Popen([sys.executable, "-m", "mock_service"], cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(process, url)
        yield process, url
    finally:
        process.kill()
        process.wait(STOPPED_WITHIN)


def replay(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPLAY), url]
    return subprocess.run(command, capture_output=True, text=True, timeout=REPLAYED_WITHIN, check=False)  # noqa: S603 - our own script, no shell


def test_the_steady_profile_keeps_the_seed_contract_twice_in_a_row() -> None:
    with service("steady") as (_, url):
        for _ in range(2):
            replayed = replay(url)
            assert " 0 failed" in replayed.stdout, replayed.stdout
            assert replayed.returncode == 0


def test_the_replay_notices_a_service_that_does_not_keep_the_contract() -> None:
    with service("live") as (_, url):
        replayed = replay(url)
        assert replayed.returncode == 1
        assert " 0 failed" not in replayed.stdout


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_service_is_gone_at_once_with_clients_connected_and_waiting(stop: signal.Signals) -> None:
    with service("steady") as (process, url), httpx.Client(timeout=30) as idle:
        idle.post(f"{url}/chaos/latency", json={"latency_ms": 60_000, "duration_seconds": 600})
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as waiting:
            waiting.sendall(b"GET /dashboard HTTP/1.1\r\nHost: payment-api\r\n\r\n")
            process.send_signal(stop)
            assert process.wait(STOPPED_WITHIN) == 0


def test_a_taken_port_ends_the_service_with_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {**os.environ, "PORT": str(taken.getsockname()[1]), "MOCK_HOST": "127.0.0.1"}
        command = [sys.executable, "-m", "mock_service"]
        ended = subprocess.run(  # noqa: S603 - our own module, no shell
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=READY_WITHIN, check=False
        )
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
