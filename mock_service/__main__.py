"""`python -m mock_service`: serves the mock payment-api until it is told to stop."""

import signal
import socket
import sys

import uvicorn

from mock_service.app import create_app
from mock_service.patience import Patience
from mock_service.settings import MockServiceSettings, SettingsError, load_settings

_GRACE_SECONDS = 1  # for requests on their way out when the service is told to stop


class _Server(uvicorn.Server):
    """Lets the requests go that chaos holds back, as soon as it is told to stop."""

    def __init__(self, config: uvicorn.Config, patience: Patience) -> None:
        super().__init__(config)
        self._patience = patience

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._patience.lose()
        await super().shutdown(sockets)


def main() -> int:
    """Serve, and return the exit status: 0 when stopped by a signal, 2 when the settings make no sense."""
    try:
        settings = load_settings()
    except SettingsError as exc:
        sys.stderr.write(f"mock_service: {exc}\n")
        return 2
    # uvicorn raises the signal again once it has stopped; SIGTERM then ends here as SIGINT does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _server(settings).run()
    except KeyboardInterrupt:
        return 0
    return 0


def _server(settings: MockServiceSettings) -> _Server:
    patience = Patience()
    config = uvicorn.Config(
        create_app(settings, sleep=patience.wait),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return _Server(config, patience)


if __name__ == "__main__":
    sys.exit(main())
