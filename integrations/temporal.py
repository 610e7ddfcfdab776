"""Temporal: how to reach it, and which worker version it sends new work to."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
)
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from incident.errors import ConfigurationError, IntegrationError, PermanentError, TransientError
from integrations.codec import EncryptionCodec, build_converter, parse_keys

SYSTEM = "temporal"
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_NOT_YET = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION})
"""What the server answers while no worker of a build has polled."""
_POLLS_WITHIN = timedelta(seconds=75)
"""A worker that waits for work asks anew after a minute; the server lists it for five, whatever has become of it."""
_REFUSALS = {
    "NotValidForName": "has a certificate for another name (setting TEMPORAL__TLS_SERVER_NAME)",
    "InvalidCertificate(Expired": "has a certificate that has expired",
    "InvalidCertificate": "has a certificate that is not trusted (setting TEMPORAL__TLS_CA_FILE)",
    "InvalidContentType": "does not speak TLS (setting TEMPORAL__TLS)",
    "PrivateKeyParseError": "cannot be spoken to with this key (setting TEMPORAL__TLS_KEY_FILE)",
    "KeyMismatch": "cannot be spoken to with a key of another certificate (setting TEMPORAL__TLS_KEY_FILE)",
    "received fatal alert": "refuses the client certificate, or wants one (setting TEMPORAL__TLS_CERT_FILE)",
    "code: Unauthenticated": "refuses the API key (setting TEMPORAL__API_KEY)",
    "code: PermissionDenied": "does not let this API key or certificate in (setting TEMPORAL__NAMESPACE)",
}
"""What the SDK's text of an error holds, and what it means. The SDK (1.35) gives such errors no type of their own."""
_ENDED = ("transport error", "connection closed")
"""What it says when the other side hung up: it is on its way down, or was not spoken to as it wants to be."""
_PERHAPS = "does it want TLS, or a client certificate? (settings TEMPORAL__TLS, TEMPORAL__TLS_CERT_FILE)"


def leave(status: int) -> NoReturn:
    """Ends the process with `status`, without the interpreter's own end.

    A process that used the SDK may be aborted there after it has done its work (temporalio/sdk-python#300), which would
    be taken for its failure.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class TemporalSettings(BaseModel):
    """Where Temporal is, and how it is spoken to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(default="127.0.0.1:7233", description="Host and port of Temporal's frontend.")
    namespace: str = Field(default="default", description="Temporal namespace.")
    api_key: SecretStr | None = Field(default=None, description="API key of Temporal Cloud.")
    tls: bool = Field(default=False, description="Whether to speak TLS; an API key or a file of TLS implies it.")
    tls_server_name: str = Field(
        default="", description="The name that the server's certificate must be for; empty: the address's host."
    )
    tls_ca_file: Path | None = Field(
        default=None,
        description="PEM file of who may have signed the server's certificate; empty: whom the system trusts.",
    )
    tls_cert_file: Path | None = Field(default=None, description="PEM file of the client certificate, for mTLS.")
    tls_key_file: Path | None = Field(default=None, description="PEM file of the client certificate's private key.")
    codec_keys: SecretStr | None = Field(
        default=None,
        description="Encrypts what Temporal keeps: id=key pairs parted by commas, each key 32 bytes in base64; the "
        "first encrypts, all decrypt. The same in every process.",
    )
    ui_url: str = Field(
        default="http://127.0.0.1:8233",
        description="Where people find the Web UI; for links, and the one origin that may have payloads decrypted.",
    )

    def transport(self) -> TLSConfig | bool:
        """How to speak TLS; `False`: not at all.

        Raises:
            ConfigurationError: a line for each variable that cannot be used.
        """
        if problems := self._problems():
            raise ConfigurationError(*problems)
        if not (self.tls or self.api_key or self.tls_server_name or self.tls_ca_file or self.tls_cert_file):
            return False
        return TLSConfig(
            server_root_ca_cert=_pem("TLS_CA_FILE", self.tls_ca_file, _CERTIFICATE),
            domain=self.tls_server_name or None,
            client_cert=_pem("TLS_CERT_FILE", self.tls_cert_file, _CERTIFICATE),
            client_private_key=_pem("TLS_KEY_FILE", self.tls_key_file, b"PRIVATE KEY-----"),
        )

    def codec(self) -> EncryptionCodec | None:
        """What encrypts payloads; `None`: they are kept as they are.

        Raises:
            ConfigurationError: the variable cannot be used.
        """
        return None if self.codec_keys is None else EncryptionCodec(parse_keys(self.codec_keys.get_secret_value()))

    def _problems(self) -> tuple[str, ...]:
        # Checked here and not by the fields, whose errors would show what was given.
        key = self.api_key.get_secret_value() if self.api_key else ""
        wrong = {
            "API_KEY: expected one word of ASCII characters": not (
                key.isascii() and key.isprintable() and " " not in key
            ),
            "TLS_KEY_FILE: expected the key of TEMPORAL__TLS_CERT_FILE": bool(
                self.tls_cert_file and not self.tls_key_file
            ),
            "TLS_CERT_FILE: expected the certificate of TEMPORAL__TLS_KEY_FILE": bool(
                self.tls_key_file and not self.tls_cert_file
            ),
        }
        return tuple(f"TEMPORAL__{line}" for line, holds in wrong.items() if holds)


async def connect(settings: TemporalSettings, runtime: Runtime | None = None) -> Client:
    """A client.

    Raises:
        ConfigurationError: a variable cannot be used, or the file that it names.
        TransientError: nothing answers at that address.
        PermanentError: what answers there cannot be trusted, or does not let this process in.
    """
    try:
        return await Client.connect(
            settings.address,
            namespace=settings.namespace,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            tls=settings.transport(),
            data_converter=build_converter(settings.codec()),
            runtime=runtime,
            connect_timeout=timedelta(seconds=5),
        )
    except (RPCError, RuntimeError) as error:
        raise _unreachable(settings.address, str(error)) from error


def _unreachable(address: str, said: str) -> IntegrationError:
    for mark, meaning in _REFUSALS.items():
        if mark in said:
            return PermanentError(SYSTEM, f"{address} {meaning}")
    if any(mark in said for mark in _ENDED):
        return TransientError(SYSTEM, f"{address} hung up; {_PERHAPS}")
    return TransientError(SYSTEM, f"cannot be reached at {address} (setting TEMPORAL__ADDRESS)")


def _pem(variable: str, file: Path | None, mark: bytes) -> bytes | None:
    if file is None:
        return None
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"TEMPORAL__{variable}: cannot be read ({type(error).__name__})") from error
    if mark not in text:
        raise ConfigurationError(f"TEMPORAL__{variable}: expected PEM, with a line that holds {mark.decode()}")
    return text


def runtime_with_metrics(bind: str) -> Runtime:
    """A runtime that serves the SDK's Prometheus metrics at `bind`, host:port."""
    return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=bind, durations_as_seconds=True)))


async def await_worker(
    client: Client, task_queue: str, build_id: str, limit: timedelta, polled_within: timedelta = _POLLS_WITHIN
) -> None:
    """Returns once a worker of that build takes workflow tasks from the queue.

    A build that once ran may be made current without that, and then nothing starts.

    Args:
        client: connected to the server.
        task_queue: where the worker takes work from.
        build_id: the build.
        limit: how long it is awaited.
        polled_within: how long ago it may have asked for work.

    Raises:
        PermanentError: none did within `limit`.
        TransientError: the server does not say.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        async with asyncio.timeout(limit.total_seconds()):
            while True:
                answer = await client.workflow_service.describe_task_queue(request)
                oldest = datetime.now(UTC) - polled_within
                if any(
                    each.deployment_options.build_id == build_id and each.last_access_time.ToDatetime(UTC) > oldest
                    for each in answer.pollers
                ):
                    return
                await asyncio.sleep(0.1)
    except RPCError as error:
        raise TransientError(SYSTEM, f"does not say who takes work: {error.message}") from error
    except TimeoutError as error:
        raise PermanentError(SYSTEM, f"saw no worker of build {build_id} within {limit.total_seconds():g} s") from error


async def make_current(client: Client, deployment: str, build_id: str, limit: timedelta) -> None:
    """Sends new workflows to that build, once one of its workers has been seen. Without that none ever starts.

    Raises:
        PermanentError: no worker of that build was seen within `limit`.
        TransientError: the server refused for another reason.
    """
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=deployment, build_id=build_id, ignore_missing_task_queues=True
    )
    await _once_seen(lambda: client.workflow_service.set_worker_deployment_current_version(request), build_id, limit)


async def make_ramping(client: Client, deployment: str, build_id: str, percentage: float, limit: timedelta) -> None:
    """Sends that share of new workflows to that build, once one of its workers has been seen; 0 ends it.

    Args:
        client: connected to the server.
        deployment: the worker deployment.
        build_id: the build; the others' share stays with the current one.
        percentage: 0 to 100, as the server speaks it.
        limit: how long a worker of the build is awaited.

    Raises:
        PermanentError: no worker of that build was seen within `limit`.
        TransientError: the server refused for another reason.
    """
    request = SetWorkerDeploymentRampingVersionRequest(
        namespace=client.namespace,
        deployment_name=deployment,
        build_id=build_id,
        percentage=percentage,
        ignore_missing_task_queues=True,
    )
    await _once_seen(lambda: client.workflow_service.set_worker_deployment_ramping_version(request), build_id, limit)


async def _once_seen(route: Callable[[], Awaitable[object]], build_id: str, limit: timedelta) -> None:
    answer = "none"
    try:
        async with asyncio.timeout(limit.total_seconds()):
            while True:
                try:
                    await route()
                except RPCError as error:
                    if error.status not in _NOT_YET:
                        raise TransientError(SYSTEM, f"refused to route work: {error.message}") from error
                    answer = error.message
                    await asyncio.sleep(0.1)
                else:
                    return
    except TimeoutError as error:
        problem = f"did not take build {build_id} within {limit.total_seconds():g} s; its last answer: {answer}"
        raise PermanentError(SYSTEM, problem) from error
