"""`python -m tests.standins.loki`: records anew what a real Loki answers."""

import tempfile
import time
from pathlib import Path

from tests.standins.loki.conversation import lines, record
from tests.standins.loki.pushing import push
from tests.standins.loki.servers import running_loki


def main() -> None:
    """Record."""
    with tempfile.TemporaryDirectory() as place, running_loki(Path(place)) as url:
        base = time.time_ns() // 10**9 * 10**9
        push(url, *lines(base))
        record(url, base)


if __name__ == "__main__":
    main()
