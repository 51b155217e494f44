"""The example dashboard and alert rules: they parse, and ask only for what workers tell."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import eventually
from tests.unit.observe.scrape import Scrape
from tests.workers import ROOT, Worker, client

FOLDER = ROOT / "examples" / "grafana"
METRIC = re.compile(r"\btalo_\w+")
SELECTOR = re.compile(r"\b(talo_\w+)\{([^}]*)\}")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
#: Labels that Prometheus adds to each scrape.
GIVEN = {"job", "instance", "le"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "talo.json").read_text(encoding="utf-8"))
    return found


def rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    board = dashboard()
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    variables = [each["query"]["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    return [*panels, *variables, *(rule["expr"] for rule in rules())]


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """What a worker tells that has seen a success and a dead letter."""
    tmp = tmp_path_factory.mktemp("grafana")
    broker = f"sqlite:///{tmp}/talo.sqlite3"
    with client(broker) as app, Worker(broker, tmp, "-c", "1", "--http", "0") as worker:
        app.send_task("tests.apps.traced.add", (1, 1))
        app.send_task("tests.apps.traced.fails")

        def told() -> Scrape:
            found = Scrape(worker)
            assert found.sum("talo_tasks_total") == 2
            return found

        return eventually(told, timeout=30)


def test_every_metric_and_label_that_is_asked_for_exists(scrape: Scrape) -> None:
    labels: dict[str, set[str]] = {}
    for sample in scrape.samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    for query in queries():
        named = set(METRIC.findall(query))
        assert named, query
        assert named <= scrape.names, query
        for metric, selector in SELECTOR.findall(query):
            assert set(LABEL.findall(selector)) <= labels[metric] | GIVEN, query
        for grouped in re.findall(r"\bby \(([^)]*)\)", query):
            known = set().union(*(labels[metric] for metric in named))
            assert {word.strip() for word in grouped.split(",")} <= known | GIVEN, query


def test_every_metric_is_explained_and_shown() -> None:
    # Given the table of the page
    page = (ROOT / "docs/howto/metrics.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(talo_\w+)`", page, re.MULTILINE))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for query in queries() for name in METRIC.findall(query)}
    # Then it leaves out nothing that is shown
    assert shown <= told


def test_the_page_lists_exactly_what_workers_tell(scrape: Scrape) -> None:
    page = (ROOT / "docs/howto/metrics.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(talo_\w+)`", page, re.MULTILINE))
    assert told == {re.sub(r"_(bucket|sum|count)$", "", name) for name in scrape.names}


def test_panels_do_not_overlap_and_fit_the_grid() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_alerts_say_what_has_happened_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 8
    assert all({"summary", "description"} <= rule["annotations"].keys() for rule in rules())
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning", "info"}


def test_brackets_of_queries_are_closed() -> None:
    for query in queries():
        for left, right in ("()", "{}", "[]"):
            assert query.count(left) == query.count(right), query
    assert Path(FOLDER / "README.md").exists()
