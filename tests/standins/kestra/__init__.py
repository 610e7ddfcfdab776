"""The real Kestra, engine only, in a process of its own: no web server, a database in memory, one folder for its files.

    async with KestraEngine(Major.V2, tmp_path, {"GATEWAY_TOKEN": token}) as kestra:
        assert await kestra.validate(flow) == ()
        await kestra.load(flow)                      # again: replaces the one of the same id
        execution = await kestra.run("demo", "incident-commander", {"service_name": "payment-api"})
        ended = await kestra.wait(execution, timedelta(seconds=30))
        assert ended.state is State.SUCCESS

`tests/standins/kestra/install` builds it from kestra/engine; `kestra_missing(major)` says why it cannot run.
"""

from tests.standins.kestra.engine import KestraDiedError, KestraEngine, KestraError, KestraRefusedError
from tests.standins.kestra.majors import Major, kestra_missing
from tests.standins.kestra.records import Execution, LogLine, State, TaskRun

__all__ = [
    "Execution",
    "KestraDiedError",
    "KestraEngine",
    "KestraError",
    "KestraRefusedError",
    "LogLine",
    "Major",
    "State",
    "TaskRun",
    "kestra_missing",
]
