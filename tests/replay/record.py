"""`python -m tests.replay.record [PATH ...]` runs the paths again and stores their histories; without a path, all.

Left out is what a replay does not read and what would only grow or tell of this machine: what activities were asked,
what the workflow returned, and stack traces.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import structlog

from tests.replay.paths import PATHS
from tests.workflow.shift import environment

HISTORIES = Path(__file__).parent / "histories"
_UNREAD = {
    "activityTaskScheduledEventAttributes": ("input",),
    "startChildWorkflowExecutionInitiatedEventAttributes": ("input",),
    "workflowExecutionCompletedEventAttributes": ("result",),
}


def slim(history: dict[str, Any]) -> dict[str, Any]:
    """`history` without what a replay does not read."""
    for event in history["events"]:
        for attributes, unread in _UNREAD.items():
            for key in unread:
                event.get(attributes, {}).pop(key, None)
        _without_stack_traces(event)
    return history


def _without_stack_traces(value: object) -> None:
    if isinstance(value, dict):
        value.pop("stackTrace", None)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _without_stack_traces(each)


async def record(names: list[str]) -> None:
    """Stores the history of every path of `names`."""
    async with environment() as where:
        for name in names:
            handle = await PATHS[name](where, f"recorded-{name}")
            history = slim((await handle.fetch_history()).to_json_dict())
            text = json.dumps(history, separators=(",", ":"), sort_keys=True) + "\n"
            (HISTORIES / f"{name}.json").write_text(text, encoding="utf-8")
            sys.stdout.write(f"{name}: {len(history['events'])} events, {len(text)} bytes\n")


def main() -> None:
    """Records the paths that are named on the command line, or all."""
    names = sys.argv[1:] or list(PATHS)
    if unknown := sorted(set(names) - set(PATHS)):
        sys.exit(f"no such path: {', '.join(unknown)}; known: {', '.join(PATHS)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    asyncio.run(record(names))


if __name__ == "__main__":
    main()
