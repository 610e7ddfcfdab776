"""`python -m tests.standins.github --port N`: serves the stand-in on the loopback until it is told to stop."""

import argparse
import asyncio

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.standins.github.fake import create_app
from tests.standins.github.faults import TRANSPORT

_GRACE_SECONDS = 1  # for calls that a fault leaves hanging


class _Protocol(H11Protocol):
    """Lets the application get at the connection, which it must for a reset."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's annotation
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.standins.github", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        create_app(),
        port=parser.parse_args().port,
        http=_Protocol,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=600,  # longer than Prism keeps a connection, or the two race for who closes it
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


if __name__ == "__main__":
    main()
