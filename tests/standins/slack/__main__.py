"""`python -m tests.standins.slack --port N`: serves the stand-in on the loopback until it is told to stop."""

import argparse

from aiohttp import web

from tests.standins.slack.fake import create_app


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.standins.slack", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    web.run_app(create_app(), host="127.0.0.1", port=parser.parse_args().port, print=None, shutdown_timeout=1)


if __name__ == "__main__":
    main()
