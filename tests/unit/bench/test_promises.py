"""The figures that stand in the repository keep what is promised about throughput, and what breaks a promise is told.

What is promised in seconds holds on the reference machine: ``make bench`` tells whether it does on this one."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from bench import report
from bench.lab import ROOT
from bench.measures import MEASURES
from bench.promises import BOUNDS, Bound, broken

FOUND: dict[str, Any] = json.loads((ROOT / "bench/results.json").read_text(encoding="utf-8"))


@pytest.fixture
def results() -> dict[str, Any]:
    return copy.deepcopy(FOUND)


@pytest.mark.promise("P02")
def test_the_throughput_is_the_promised_one(results: dict[str, Any]) -> None:
    assert list(broken(results["measures"], "P02")) == []


@pytest.mark.promise("B10")
def test_bulk_sends_and_groups_are_as_fast_as_promised(results: dict[str, Any]) -> None:
    assert list(broken(results["measures"], "B10")) == []


def test_the_readme_shows_the_figures_that_were_measured(results: dict[str, Any]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = text.partition(report.START)[2].partition(report.END)[0].splitlines()
    shown = [row for row in report.markdown(results, {}).splitlines() if row.startswith("|")]
    # The names of the peers are written as they write themselves, which their modules know and this test does not.
    assert [row.split(" | ")[:3] for row in rows if row.startswith("|")] == [row.split(" | ")[:3] for row in shown]


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound.measure}-{bound.figure}-{bound.to}")
def test_a_worse_figure_breaks_the_promise(bound: Bound, results: dict[str, Any]) -> None:
    # Given figures of which one is a hundred times worse
    measures = copy.deepcopy(results["measures"])
    worse = 0.01 if bound.what().more_is_better else 100
    measures[bound.measure]["talo"][bound.figure]["median"] *= worse
    # Then that one is told
    assert any(line.startswith(f"{bound.promise}: {MEASURES[bound.measure].title}") for line in broken(measures))


def test_a_rate_of_the_reference_machine_is_judged_at_the_pace_of_this_one(results: dict[str, Any]) -> None:
    # Given a machine on which everything takes three times as long
    [bound] = [each for each in BOUNDS if each.measure == "bulk"]
    before = bound.found(results["measures"])
    slower = copy.deepcopy(results["measures"])
    for measure, peer in (("bulk", "talo"), ("drain", "celery")):
        slower[measure][peer]["rate"]["median"] /= 3
    # Then it is taken for the same
    assert before is not None and bound.found(slower) == pytest.approx(before)
    # And for nothing where the pace is not known
    del slower["drain"]["celery"]
    assert bound.found(slower) is None


def test_what_was_not_measured_does_not_hold(results: dict[str, Any]) -> None:
    del results["measures"]["drain"]["celery"]
    lines = list(broken(results["measures"], "P02"))
    assert lines == ["P02: Drain of queued no-op tasks, no results: not measured, promised 30 × celery"]
