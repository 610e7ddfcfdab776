"""What a workflow's file says of its inputs and its run's name, by its lines.

No YAML parser: one is not worth a dependency of every worker, since only `commander doctor` asks. The scan knows the
block style that workflows are written in; of anything else it says that it cannot tell.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_KEY = re.compile(r"( *)([\"']?)([A-Za-z_][A-Za-z0-9_-]*)\2 *:(?: +(.*?))? *\Z")
_REQUIRED = re.compile(r"[{,]\s*required:\s*true\s*[,}]")
_PLAIN = re.compile(r"[a-z_]+|\[[a-z_, ]+\]")
"""Events that are only named, which gives them no inputs."""
_NAMED = re.compile(r"\[\$\{\{\s*inputs\.correlation_id\s*\}\}\][\"']?\s*\Z")


@dataclass(frozen=True)
class _Line:
    indent: int
    key: str
    """Empty: the line is no key of a mapping."""
    value: str


class _UnclearError(Exception):
    """The file is written in a way that the scan does not know."""


def inputs_of(text: str) -> dict[str, bool] | None:
    """The inputs of `on.workflow_dispatch`, each with whether a dispatch must give it; `None`: it cannot be told.

    Empty where the workflow takes none, or cannot be dispatched.
    """
    try:
        lines = _lines(text)
        if any(_PLAIN.fullmatch(event.value) for event in _outermost(lines, "on")):
            return {}
        events = _block(lines, "on")
        dispatch = _block(events, "workflow_dispatch")
        inputs = _block(dispatch, "inputs")
        return {line.key: _must_be_given(inputs, line) for line in _children(inputs)}
    except _UnclearError:
        return None


def is_found_by_its_name(text: str) -> bool:
    """Whether the runs' name ends with the correlation id in brackets, as a search for a run needs it."""
    return any(line.key == "run-name" and bool(_NAMED.search(line.value)) for line in _lines(text) if line.indent == 0)


def _lines(text: str) -> list[_Line]:
    kept = (line.rstrip() for line in text.splitlines())
    return [_line(line) for line in kept if line.strip() and not line.lstrip().startswith("#")]


def _line(text: str) -> _Line:
    found = _KEY.fullmatch(text)
    if found is None:
        return _Line(len(text) - len(text.lstrip()), "", text.strip())
    value = re.sub(r"(^|\s)#.*\Z", "", found[4] or "")
    return _Line(len(found[1]), found[3], value.strip())


def _children(lines: Sequence[_Line]) -> list[_Line]:
    """The keys of the outermost mapping in `lines`."""
    outermost = min((line.indent for line in lines), default=0)
    keys = [line for line in lines if line.indent == outermost]
    if any(not line.key for line in keys):
        raise _UnclearError
    return keys


def _block(lines: Sequence[_Line], key: str) -> list[_Line]:
    """The lines under `key`; none where there is no such key."""
    start = next(iter(_outermost(lines, key)), None)
    if start is None:
        return []
    if start.value:
        raise _UnclearError
    return _under(lines, start)


def _outermost(lines: Sequence[_Line], key: str) -> list[_Line]:
    # At the top a file may hold `---`; anything else but a key is unclear.
    mapping = [line for line in lines if line.key or line.value != "---"]
    return [line for line in _children(mapping) if line.key == key]


def _under(lines: Sequence[_Line], start: _Line) -> list[_Line]:
    after = lines[next(number for number, line in enumerate(lines) if line is start) + 1 :]
    end = next((number for number, line in enumerate(after) if line.indent <= start.indent), len(after))
    return list(after[:end])


def _must_be_given(lines: Sequence[_Line], name: _Line) -> bool:
    if name.value:
        return bool(_REQUIRED.search(name.value)) and "default:" not in name.value
    fields = {line.key: line.value for line in _children(_under(lines, name))}
    return fields.get("required") == "true" and "default" not in fields
