"""The Docker engine that the tests run on, and what it knows of images and containers."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_ANSWERS_WITHIN = 10
_WITHIN = timedelta(minutes=10)
_SHELL = {name: value for name, value in os.environ.items() if "__" not in name}
"""Without the settings of whoever runs the tests: a key of theirs would reach the stack."""


def why_not() -> str:
    """Why nothing can run in containers here; empty: it can."""
    docker = shutil.which("docker")
    if docker is None:
        return "containers need docker"
    for command in (["version", "--format", "{{.Server.Version}}"], ["compose", "version"]):
        asked = subprocess.run([docker, *command], capture_output=True, check=False, timeout=_ANSWERS_WITHIN)  # noqa: S603 - our own command, no shell
        if asked.returncode:
            return (
                f"no Docker engine with compose answers; `make compose-test` starts one: {asked.stderr.decode()[:200]}"
            )
    return ""


class DockerError(AssertionError):
    """A command of docker's that ended badly."""


def docker(*arguments: str, environment: Mapping[str, str] | None = None, within: timedelta = _WITHIN) -> str:
    """What `docker ARGUMENTS` prints.

    Raises:
        DockerError: it ended with another status than 0.
    """
    done = subprocess.run(  # noqa: S603 - our own command, no shell
        ["docker", *arguments],  # noqa: S607 - the one on the PATH is meant
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**_SHELL, **(environment or {})},
        timeout=within.total_seconds(),
    )
    if done.returncode:
        told = (done.stdout[-4000:] + done.stderr[-4000:]).decode(errors="replace")
        raise DockerError(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{told}")
    return done.stdout.decode()


@dataclass(frozen=True)
class Probe:
    """One run of a container's health check."""

    began: datetime
    healthy: bool


@dataclass(frozen=True)
class Container:
    """A container as the engine describes it."""

    name: str
    described: Mapping[str, Any]

    @classmethod
    def find(cls, name: str) -> "Container":
        """The container of that name or id."""
        return cls(name, json.loads(docker("inspect", "--type=container", name))[0])

    @property
    def service(self) -> str:
        """The compose service that it belongs to."""
        return str(self.described["Config"]["Labels"]["com.docker.compose.service"])

    @property
    def state(self) -> Mapping[str, Any]:
        """How it is."""
        found: Mapping[str, Any] = self.described["State"]
        return found

    @property
    def limits(self) -> Mapping[str, Any]:
        """What it may do on its host."""
        found: Mapping[str, Any] = self.described["HostConfig"]
        return found

    @property
    def health(self) -> str:
        """`healthy`, `unhealthy`, `starting`; empty: nobody checks."""
        return str(self.state.get("Health", {}).get("Status", ""))

    @property
    def probes(self) -> Sequence[Probe]:
        """The latest runs of its health check, oldest first."""
        log = self.state.get("Health", {}).get("Log") or []
        return [Probe(_time(each["Start"]), each["ExitCode"] == 0) for each in log]

    def status(self, key: str) -> str:
        """A line of process 1's status, as its kernel tells it."""
        text = docker("exec", self.name, "cat", "/proc/1/status")
        return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(f"{key}:"))


def bytes_above(base: str, image: str) -> int:
    """How much the layers of `image` hold that those of `base`, which it is built on, do not."""
    return _bytes(image) - _bytes(base)


def _bytes(image: str) -> int:
    return sum(map(int, docker("history", "--human=false", "--format={{.Size}}", image).split()))


def _time(text: str) -> datetime:
    """Docker's time, which has nanoseconds."""
    whole, _, rest = text.partition(".")
    digits = "".join(each for each in rest if each.isdigit())[:6].ljust(6, "0")
    return datetime.fromisoformat(f"{whole[:19]}.{digits}+00:00")
