"""Temporal: how to reach it, and which worker version it sends new work to."""

import asyncio
import logging
import os
import sys
from datetime import timedelta
from typing import NoReturn

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from incident.errors import PermanentError, TransientError

SYSTEM = "temporal"


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
    """Where Temporal is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(default="127.0.0.1:7233", description="Host and port of Temporal's frontend.")
    namespace: str = Field(default="default", description="Temporal namespace.")
    api_key: SecretStr | None = Field(default=None, description="API key of Temporal Cloud.")
    tls: bool = Field(default=False, description="Whether to speak TLS; an API key implies it.")
    ui_url: str = Field(default="http://127.0.0.1:8233", description="Where people find the Web UI; for links only.")


async def connect(settings: TemporalSettings, runtime: Runtime | None = None) -> Client:
    """A client.

    Raises:
        TransientError: nothing answers at that address.
    """
    try:
        return await Client.connect(
            settings.address,
            namespace=settings.namespace,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            tls=settings.tls or settings.api_key is not None,
            data_converter=pydantic_data_converter,
            runtime=runtime,
            connect_timeout=timedelta(seconds=5),
        )
    except (RPCError, RuntimeError) as error:
        problem = f"cannot be reached at {settings.address} (setting TEMPORAL__ADDRESS)"
        raise TransientError(SYSTEM, problem) from error


def runtime_with_metrics(bind: str) -> Runtime:
    """A runtime that serves the SDK's Prometheus metrics at `bind`, host:port."""
    return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=bind, durations_as_seconds=True)))


async def make_current(client: Client, deployment: str, build_id: str, limit: timedelta) -> None:
    """Sends new workflows to that build, once one of its workers has been seen. Without that none ever starts.

    Raises:
        PermanentError: no worker of that build was seen within `limit`.
    """
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=deployment, build_id=build_id, ignore_missing_task_queues=True
    )
    try:
        async with asyncio.timeout(limit.total_seconds()):
            while True:
                try:
                    await client.workflow_service.set_worker_deployment_current_version(request)
                except RPCError as error:
                    if error.status not in {RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION}:
                        raise TransientError(SYSTEM, f"refused the current version: {error.message}") from error
                    await asyncio.sleep(0.1)
                else:
                    return
    except TimeoutError as error:
        raise PermanentError(SYSTEM, f"saw no worker of build {build_id} within {limit.total_seconds():g} s") from error
