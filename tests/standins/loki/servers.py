"""Starts the real Loki on ports of the test's own; its data and its log are in a folder of the test's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.standins.github.processes import free_port
from tests.standins.starting import started

_PROGRAM = Path(__file__).parents[3] / ".tools" / "loki" / "loki"
_STARTS_WITHIN = 60.0
_CONFIG = """
auth_enabled: false
analytics: {{reporting_enabled: false}}
server:
  http_listen_address: 127.0.0.1
  http_listen_port: {http}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: {grpc}
common:
  instance_addr: 127.0.0.1
  path_prefix: {place}
  replication_factor: 1
  ring: {{kvstore: {{store: inmemory}}}}
  storage: {{filesystem: {{chunks_directory: {place}/chunks, rules_directory: {place}/rules}}}}
ingester: {{lifecycler: {{min_ready_duration: 0s}}}}
schema_config:
  configs:
  - {{from: 2024-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {{prefix: index_, period: 24h}}}}
"""


def why_not() -> str:
    """Why Loki cannot be run here; empty: it can."""
    return "" if _PROGRAM.exists() else "Loki needs: make loki-test, which builds it in four minutes"


@contextmanager
def running_loki(place: Path) -> Iterator[str]:
    """The address of a Loki that holds nothing yet."""
    http, grpc = free_port(), free_port()
    config, log = place / "loki.yml", place / "log"
    config.write_text(_CONFIG.format(http=http, grpc=grpc, place=place))
    url = f"http://127.0.0.1:{http}"
    command = [str(_PROGRAM), f"-config.file={config}"]
    with started(command, log=log, ready=f"{url}/ready", within=_STARTS_WITHIN):
        yield url
