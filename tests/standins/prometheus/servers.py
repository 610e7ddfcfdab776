"""Starts Prometheus and Alertmanager on ports of the test's own, asks them, and runs the tools that come with them."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.standins.starting import started

_PROGRAMS = Path(__file__).parents[3] / ".tools" / "prometheus"
_STARTS_WITHIN = 30.0
_ANSWERS_WITHIN = 20.0


def why_not() -> str:
    """Why these programs cannot be run here; empty: they can."""
    names = ("prometheus", "promtool", "alertmanager", "amtool")
    there = all((_PROGRAMS / name).exists() for name in names)
    return "" if there else "Prometheus needs: tests/standins/prometheus/install"


def checked(tool: str, *arguments: str | Path) -> str:
    """What `promtool` or `amtool` says; AssertionError where it finds fault."""
    done = subprocess.run([_PROGRAMS / tool, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 - our own command, no shell
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def running(program: str, directory: Path, config: Path, port: int) -> Iterator[str]:
    """The address of a `prometheus` or an `alertmanager` under `config`; its data and its log are in `directory`."""
    directory.mkdir()
    command = [
        str(_PROGRAMS / program),
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        *(
            ["--storage.path", str(directory), "--cluster.listen-address="]  # alone: it looks for no peers
            if program == "alertmanager"
            else ["--storage.tsdb.path", str(directory)]
        ),
    ]
    url = f"http://127.0.0.1:{port}"
    with started(command, log=directory / "log", ready=f"{url}/-/ready", within=_STARTS_WITHIN):
        yield url


class Prometheus:
    """Asks the Prometheus at `url` by its HTTP API. AssertionError: it does not understand the question."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=_ANSWERS_WITHIN)

    def close(self) -> None:
        self._client.close()

    def now(self, query: str) -> Sequence[Mapping[str, Any]]:
        """The series that `query` gives now, each with its `metric` and `value`."""
        found: Sequence[Mapping[str, Any]] = self._ask("/query", query=query)["result"]
        return found

    def over(self, query: str, begin: float, end: float) -> Sequence[Mapping[str, Any]]:
        """The series that `query` gives second by second between two times, each with its `metric` and `values`."""
        found: Sequence[Mapping[str, Any]] = self._ask("/query_range", query=query, start=begin, end=end, step=1)[
            "result"
        ]
        return found

    def known(self, selector: str) -> bool:
        """Whether any series that `selector` selects was ever measured."""
        return bool(self._ask("/series", **{"match[]": selector}))

    def firing(self) -> frozenset[str]:
        """The names of the alerts that fire now."""
        return frozenset(each["metric"]["alertname"] for each in self.now('ALERTS{alertstate="firing"}'))

    def _ask(self, path: str, **parameters: str | float) -> Any:  # noqa: ANN401 - JSON
        answer = self._client.post(path, data=parameters)
        assert answer.is_success, answer.text
        return answer.json()["data"]
