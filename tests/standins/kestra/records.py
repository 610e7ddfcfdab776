"""What the engine tells of an execution."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import JsonValue

from incident.model import Fact, Moment


class State(StrEnum):
    """Of an execution or of a task, in Kestra's words."""

    CREATED = "CREATED"
    SUBMITTED = "SUBMITTED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    BREAKPOINT = "BREAKPOINT"
    RETRYING = "RETRYING"
    RESTARTED = "RESTARTED"
    RESUBMITTED = "RESUBMITTED"
    KILLING = "KILLING"
    SUCCESS = "SUCCESS"
    WARNING = "WARNING"
    FAILED = "FAILED"
    KILLED = "KILLED"
    CANCELLED = "CANCELLED"
    RETRIED = "RETRIED"
    SKIPPED = "SKIPPED"


class TaskRun(Fact):
    id: str
    """The task's, as the flow has it: a task in a loop runs several times."""
    value: str | None = None
    """What the loop is at."""
    state: State
    started: Moment
    stopped: Moment | None = None
    attempts: int
    outputs: Mapping[str, JsonValue]


class LogLine(Fact):
    level: str
    message: str
    """Secrets are masked by Kestra."""
    task: str | None = None


class Execution(Fact):
    id: str
    namespace: str
    flow: str
    state: State
    ended: bool
    """Nothing of it runs any more, `afterExecution` included, which begins when the state is the last one already."""
    started: Moment
    stopped: Moment | None = None
    inputs: Mapping[str, JsonValue]
    outputs: Mapping[str, JsonValue]
    labels: Mapping[str, str]
    tasks: tuple[TaskRun, ...]
    """In the order in which they were begun."""
    logs: tuple[LogLine, ...]
    """INFO and above; Kestra writes them behind its own back, so the last ones may come after the end."""

    def runs(self, task: str) -> tuple[TaskRun, ...]:
        """Every run of that task."""
        return tuple(each for each in self.tasks if each.id == task)

    def said(self, words: str) -> bool:
        """Whether a line of the log holds `words`."""
        return any(words in line.message for line in self.logs)

    @property
    def story(self) -> str:
        """State, tasks and warnings in a few lines, for the message of a failed assertion."""
        tasks = ", ".join(f"{each.id} {each.state}" for each in self.tasks)
        loud = [f"{line.level} {line.task or ''}: {line.message}" for line in self.logs if line.level != "INFO"]
        return "\n".join([f"{self.namespace}.{self.flow} {self.id} is {self.state}; {tasks or 'no task began'}", *loud])
