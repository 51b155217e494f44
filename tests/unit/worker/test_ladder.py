"""The stop ladder and the batch size: pure rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talo.worker.batch import LARGEST, BatchSize
from talo.worker.ladder import SOFT_GRACE, Ladder, Rung


def climb(ladder: Ladder, times: list[float]) -> list[Rung | None]:
    return [ladder.climb(now, alone=False) for now in times]


def test_nothing_happens_before_a_stop_is_asked_for() -> None:
    assert climb(Ladder(10.0, 0.0), [0.0, 100.0]) == [None, None]


def test_without_a_grace_running_tasks_may_take_for_ever() -> None:
    ladder = Ladder(None, 0.0)
    ladder.stop(Rung.DRAIN, exit_code=0)
    assert climb(ladder, [0.0, 1.0, 1e6]) == [Rung.DRAIN, None, None]


def test_a_grace_leaves_time_to_hand_back_before_it_ends() -> None:
    ladder = Ladder(10.0, 0.0)
    ladder.stop(Rung.DRAIN, exit_code=0)
    assert climb(ladder, [0.0, 7.9, 8.0, 9.9, 10.0]) == [Rung.DRAIN, None, Rung.SOFT, None, Rung.KILL]


def test_a_cold_stop_hands_back_at_once_and_then_kills() -> None:
    ladder = Ladder(None, 0.0)
    ladder.stop(Rung.SOFT, exit_code=0)
    assert climb(ladder, [0.0, 0.1, 0.1 + SOFT_GRACE]) == [Rung.DRAIN, Rung.SOFT, Rung.KILL]


def test_a_soft_shutdown_waits_before_it_hands_back() -> None:
    ladder = Ladder(None, 6.0)
    ladder.stop(Rung.SOFT, exit_code=0)
    assert climb(ladder, [0.0, 5.9, 6.0]) == [Rung.DRAIN, None, Rung.SOFT]


def test_a_second_signal_hastens_a_warm_stop() -> None:
    ladder = Ladder(None, 0.0)
    ladder.stop(Rung.DRAIN, exit_code=1)
    assert climb(ladder, [0.0, 5.0]) == [Rung.DRAIN, None]
    ladder.stop(Rung.SOFT, exit_code=1)
    assert climb(ladder, [6.0]) == [Rung.SOFT]


def test_a_later_softer_signal_does_not_slow_the_stop_or_change_the_exit_code() -> None:
    ladder = Ladder(None, 0.0)
    ladder.stop(Rung.SOFT, exit_code=0)
    ladder.stop(Rung.DRAIN, exit_code=1)
    assert ladder.exit_code == 0


def test_once_the_children_are_gone_there_is_nothing_to_climb() -> None:
    ladder = Ladder(1.0, 0.0)
    ladder.stop(Rung.DRAIN, exit_code=0)
    assert ladder.climb(0.0, alone=True) is None


def test_the_first_batch_is_one_for_each_slot() -> None:
    assert BatchSize(1, 0.1, None).limit() == 1
    assert BatchSize(8, 0.1, None).limit() == 8


def test_short_tasks_are_fetched_in_growing_batches_up_to_the_largest() -> None:
    batch = BatchSize(1, 0.1, None)
    limits = []
    for _ in range(6):
        limits.append(batch.limit())
        batch.note(limits[-1], limits[-1] * 10e-6)
    assert limits == [1, 4, 16, 64, 256, 256]
    assert limits[-1] == LARGEST


def test_one_long_task_shrinks_the_batch_at_once() -> None:
    batch = BatchSize(1, 0.1, None)
    for _ in range(6):
        batch.note(batch.limit(), batch.limit() * 10e-6)
    batch.note(1, 2.0)
    assert batch.limit() == 1


def test_what_is_known_to_be_quick_is_not_long() -> None:
    batch = BatchSize(1, 0.1, None)
    assert batch.takes_long(1)
    batch.note(10, 10 * 50e-6)
    assert not batch.takes_long(10)
    assert batch.takes_long(100)


@pytest.mark.parametrize(("prefetch", "slots", "largest"), [(1, 1, 1), (4, 1, 4), (2, 8, 16)])
def test_a_prefetch_multiplier_caps_the_batch(prefetch: int, slots: int, largest: int) -> None:
    batch = BatchSize(slots, 0.1, prefetch)
    for _ in range(10):
        batch.note(batch.limit(), 1e-6)
    assert batch.limit() == largest


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 100)), max_size=30), st.integers(1, 100))
def test_a_batch_is_never_empty_nor_beyond_the_largest(notes: list[tuple[int, float]], slots: int) -> None:
    batch = BatchSize(slots, 0.1, None)
    for runs, seconds in notes:
        batch.note(runs, seconds)
        assert 1 <= batch.limit() <= LARGEST
