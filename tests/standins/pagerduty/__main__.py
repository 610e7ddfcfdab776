"""`python -m tests.standins.pagerduty --port N`: serves the stand-in on the loopback until it is told to stop."""

import argparse

from tests.standins.pagerduty.fake import server


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.standins.pagerduty", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    server(parser.parse_args().port).run()


if __name__ == "__main__":
    main()
