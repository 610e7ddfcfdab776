"""`python -m bench.bare_handler`: validates an alert as the gateway does, and does nothing more.

BIND says where it listens; the server is set up as the gateway's is.
"""

import os
import socket

import uvicorn
from fastapi import FastAPI

from gateway.alerts import AlertMessage
from gateway.webhooks import AlertsTaken

_BACKLOG = 1024


def build_app() -> FastAPI:
    """The application."""
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/readyz")
    async def ready() -> str:
        return "ready"

    @app.post("/webhooks/alertmanager")
    async def take(message: AlertMessage) -> AlertsTaken:
        return AlertsTaken(accepted=tuple(each.labels["service"] for each in message.alerts), unknown=())

    return app


def main() -> None:
    """Serves until it is told to stop."""
    host, _, port = os.environ["BIND"].rpartition(":")
    listening = socket.create_server((host, int(port)), backlog=_BACKLOG)
    config = uvicorn.Config(
        build_app(), log_config=None, access_log=False, lifespan="off", ws="none", server_header=False
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
