"""`commander`: the command line's entry. Exit 2 and one line on stderr where a command cannot do its work."""

import signal
import sys
from collections.abc import Sequence
from types import FrameType

import typer
from pydantic import ValidationError

from commander.app import app
from incident.errors import ConfigurationError, IntegrationError
from incident.model import field_errors
from integrations.telemetry import configure_logging
from integrations.temporal import leave

_CANNOT = 2
_INTERRUPTED = 130


def main() -> None:
    """Runs the command line and ends the process."""
    leave(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit status of the command line `arguments`."""
    configure_logging("WARNING")
    # A shell starts a background command with SIGINT ignored; it must still end what it started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = app(arguments or ["--help"], standalone_mode=False)
    except typer.TyperException as error:
        status = _complain(error.format_message().replace("Value error, ", ""))
    except ValidationError as error:
        status = _complain("\n".join(field_errors(error)))
    except (ConfigurationError, IntegrationError) as error:
        status = _complain(str(error))
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    return int(status or 0)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does, so that it leaves no process behind."""
    signal.raise_signal(signal.SIGINT)


def _complain(problem: str) -> int:
    sys.stderr.write(f"commander: {'; '.join(problem.splitlines())}\n")
    return _CANNOT


if __name__ == "__main__":
    main()
