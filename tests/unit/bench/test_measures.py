"""Measures, peers and servers of the bench fit together."""

from __future__ import annotations

from bench.measures import MEASURES
from bench.peers import load
from bench.servers import STARTS


def test_talo_takes_part_in_every_measure() -> None:
    assert set(load("talo").sizes) == set(MEASURES)


def test_every_measure_runs_on_a_server_that_can_be_started() -> None:
    assert {measure.server for measure in MEASURES.values()} - {""} == set(STARTS)
