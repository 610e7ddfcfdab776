"""The dashboards' own structure: what Grafana would only say by an empty panel."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.observability.files import dashboards, document, queries, variables

BOARDS = dashboards()
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in board["panels"]]
SOURCES = {each["uid"]: each for each in document("grafana/provisioning/datasources/commander.yml")["datasources"]}
ANY_PANEL = pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=[f"{name}: {panel['title']}" for name, panel in PANELS]
)
_USED = re.compile(r"\$\{?(\w+)")
_FROM_GRAFANA = {"__rate_interval", "__timeFilter", "__value"}


def test_dashboards_have_names_of_their_own() -> None:
    assert len(BOARDS) == 4
    assert {board["uid"] for board in BOARDS.values()} == {f"ic-{name}" for name in BOARDS}
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)
    assert not [name for name, board in BOARDS.items() if "id" in board]


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_panels_are_told_apart_and_do_not_lie_on_each_other(board: Mapping[str, Any]) -> None:
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    titles = Counter((panel["title"], panel["type"]) for panel in panels)
    assert [title for title, times in titles.items() if times > 1] == []
    squares = Counter(
        (column, row)
        for panel in panels
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    )
    assert [square for square, times in squares.items() if times > 1] == []
    assert max(column for column, _ in squares) < 24


@ANY_PANEL
def test_a_panel_says_what_it_shows_in_which_unit_and_that_nothing_is_not_health(
    board: str, panel: Mapping[str, Any]
) -> None:
    assert board
    assert panel["title"]
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert defaults["noValue"] not in {"", "0"}


@ANY_PANEL
def test_a_panel_reads_from_sources_that_are_provisioned(board: str, panel: Mapping[str, Any]) -> None:
    assert board
    for reader in (panel, *panel["targets"]):
        assert reader["datasource"] == {
            "type": SOURCES[reader["datasource"]["uid"]]["type"],
            "uid": reader["datasource"]["uid"],
        }


def test_variables_and_annotations_read_from_sources_that_are_provisioned() -> None:
    readers = [
        reader["datasource"]
        for board in BOARDS.values()
        for reader in (*board["templating"]["list"], *board["annotations"]["list"])
        if "datasource" in reader
    ]
    known = [{"type": source["type"], "uid": uid} for uid, source in SOURCES.items()]
    assert len(readers) == 6
    assert [reader for reader in readers if reader not in known] == []


@ANY_PANEL
def test_a_panel_tells_its_queries_apart(board: str, panel: Mapping[str, Any]) -> None:
    names = [target["refId"] for target in panel["targets"]]
    assert board
    assert names
    assert len(set(names)) == len(names)


def test_variables_that_are_used_exist() -> None:
    for query in (*queries(), *variables()):
        known = {variable["name"] for variable in BOARDS[query.dashboard]["templating"]["list"]}
        assert set(_USED.findall(query.text)) <= known | _FROM_GRAFANA, query


def test_no_query_names_what_a_variable_chooses() -> None:
    fixed = re.compile(r'service ?= ?"payment-api"|environment ?= ?"production"|[=~]"?ic-')
    assert [str(query) for query in queries() if fixed.search(query.text)] == []


def test_no_secret_stands_in_the_provisioning() -> None:
    assert {value for source in SOURCES.values() for value in source.get("secureJsonData", {}).values()} == {
        "$__env{GRAFANA_DATABASE_PASSWORD}"
    }


def test_no_rate_looks_at_less_than_four_scrapes() -> None:
    scraped = document("prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert SOURCES["prometheus"]["jsonData"]["timeInterval"] == scraped  # Grafana's __rate_interval is four of them
