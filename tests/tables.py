"""The tables at the end of a run: what tests recorded of themselves, and which folder took how long.

A plugin of pytest, loaded by tests/conftest.py, so that they are printed as well where several processes ran the tests.
"""

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.fault import matrix

_APPROVALS = ("fault", "way", "came")
"""What happened between a question and its answer, how it was answered, and what came of it."""
_CELL = "cell"
_ENDED = "ended"
_FAULTS, _KESTRA = "tests/fault/", "tests/kestra/"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call"
    ]
    faults = [each for each in reports if each.nodeid.startswith(_FAULTS) and "slow" in each.keywords]
    _write(terminalreporter, "approval table", [_row(each, _APPROVALS) for each in reports if _said(each, "fault")])
    _write(terminalreporter, "fault cases", [_case(each) for each in faults if not _said(each, _CELL)])
    cells = [_row(each, (_CELL, _ENDED)) for each in faults if _said(each, _CELL)]
    _write(terminalreporter, "crash matrix", cells)
    if cells:
        terminalreporter.write_line(f"{len(cells)} of {len(matrix.all_cells())} cells ran; {matrix.CHOICE}")
    flows = [_case(each) for each in reports if each.nodeid.startswith(_KESTRA) and _said(each, _ENDED)]
    _write(terminalreporter, "kestra cases", flows)
    took: Counter[str] = Counter()
    for each in reports:
        took["/".join(each.nodeid.split("/")[:2])] += round(each.duration)
    _write(terminalreporter, "seconds in tests", [(folder, str(seconds)) for folder, seconds in took.most_common()])


def _row(report: pytest.TestReport, names: Sequence[str]) -> Sequence[str]:
    return (*(_said(report, name) for name in names[:-1]), report.outcome, _said(report, names[-1]))


def _case(report: pytest.TestReport) -> Sequence[str]:
    name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    return name, report.outcome, f"{report.duration:5.1f} s", _said(report, _ENDED)


def _said(report: pytest.TestReport, name: str) -> str:
    return str(dict(report.user_properties).get(name, ""))


def _write(reporter: pytest.TerminalReporter, title: str, rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    reporter.section(title)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        reporter.write_line("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    failed = sum("failed" in row for row in rows)
    reporter.write_line(f"{len(rows)} rows, {failed} failed")
