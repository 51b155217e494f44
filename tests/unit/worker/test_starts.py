"""What is expected of processes at their start."""

from __future__ import annotations

from talo.worker.starts import BUDGET, Starts


def test_so_many_failures_in_a_row_are_enough() -> None:
    starts = Starts()
    assert [starts.spent(failed=True) for _ in range(BUDGET)] == [False] * (BUDGET - 1) + [True]


def test_one_that_ended_otherwise_breaks_the_row() -> None:
    starts = Starts()
    for _ in range(3):
        assert not any(starts.spent(failed=True) for _ in range(BUDGET - 1))
        assert not starts.spent(failed=False)


def test_one_blow_that_hits_all_is_one_failure() -> None:
    starts = Starts(number=8)
    assert not any(starts.spent(failed=True) for _ in range(8 + BUDGET - 2))
    assert starts.spent(failed=True)


def test_each_one_that_is_late_gives_the_next_more_time_and_those_beside_it_none() -> None:
    starts = Starts(patience=10.0)
    starts.was_late(10.0)
    starts.was_late(10.0)
    assert starts.patience == 20.0
    starts.was_late(20.0)
    assert starts.patience == 40.0


def test_one_that_came_up_says_how_long_it_takes() -> None:
    starts = Starts(patience=10.0)
    starts.was_late(10.0)
    starts.came_up(18.0)
    assert starts.patience == 36.0
    starts.came_up(0.1)
    assert starts.patience == 10.0
