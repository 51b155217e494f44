"""The meter: numbers of one process in shared memory, under bounded labels."""

from __future__ import annotations

import mmap

import pytest

from talo.stores.base import Death, Lease, Settlement, Verdict
from talo.stores.history import BUCKETS, RunRecord
from talo.worker import meter
from talo.worker.meter import BOUNDS, MOST_QUEUES, MOST_TASKS, OTHER, Kind, Meter, totals


@pytest.fixture
def memory() -> mmap.mmap:
    return mmap.mmap(-1, meter.SIZE)


def ended(token: int = 1, **fields: object) -> Settlement:
    facts = {"name": "add", "queue": "celery", "state": "SUCCESS", "ended": 1_000.0, **fields}
    return Settlement(lease=Lease(owner="o", token=token), run=RunRecord(**facts))  # type: ignore[arg-type]


def numbers(found: Meter, kind: str) -> dict[tuple[str, ...], list[float]]:
    return {row.labels: list(row.numbers) for row in found.rows() if row.kind == kind}


def test_ends_and_times_are_counted(memory: mmap.mmap) -> None:
    # Given
    made = Meter(memory, 0, 10)
    # When
    made.count([ended(seconds=0.0005, waited=0.01), ended(seconds=0.05, waited=None), ended(state="REVOKED")])
    made.count([ended(seconds=10**9)])
    # Then
    assert {labels: row[0] for labels, row in numbers(made, Kind.ENDED).items()} == {
        ("add", "celery", "SUCCESS"): 3,
        ("add", "celery", "REVOKED"): 1,
    }
    ran = numbers(made, Kind.RAN)["add",]
    assert ran[: len(BOUNDS)] == [1 if bound in (0.001, 0.064) else 0 for bound in BOUNDS]
    assert ran[len(BOUNDS)] == 1
    assert ran[len(BOUNDS) + 1] == pytest.approx(10**9 + 0.0505)
    assert sum(numbers(made, Kind.WAITED)["celery",][: len(BOUNDS) + 1]) == 1


def test_without_times_ends_are_counted_by_task_and_nothing_else_is(memory: mmap.mmap) -> None:
    # Given
    made = Meter(memory, 0, 2, times=False)
    # When
    made.count([ended(1), ended(2, state="FAILURE"), ended(3, name="mul")], refused=[Lease(owner="o", token=3)])
    made.count([ended(4, name="mul", seconds=1.0), ended(5, name="third")])
    # Then
    assert totals([made, Meter(memory, 0, 2)]) == {"add": 4, "mul": 2, OTHER: 2}
    assert {row.kind for row in made.rows()} == {Kind.ENDED}


@pytest.mark.parametrize("place", range(len(BUCKETS)))
def test_no_time_stands_below_its_own(memory: mmap.mmap, place: int) -> None:
    # Given a time just below each bound of the store's buckets
    made = Meter(memory, 0, 10)
    seconds = BUCKETS[place] * 0.999
    made.count([ended(seconds=seconds)])
    # Then it is in the first bucket whose bound is above it
    ran = numbers(made, Kind.RAN)["add",]
    assert [bound for bound, number in zip(BOUNDS, ran, strict=False) if number] == [
        next(bound for bound in BOUNDS if bound > seconds)
    ]


def test_what_was_refused_is_not_counted(memory: mmap.mmap) -> None:
    made = Meter(memory, 0, 10)
    made.count([ended(1), ended(2)], refused=[Lease(owner="o", token=2)])
    assert numbers(made, Kind.ENDED)["add", "celery", "SUCCESS"][0] == 1
    assert made.refused == 1


def test_dead_letters_are_counted_by_their_reason(memory: mmap.mmap) -> None:
    made = Meter(memory, 0, 10)
    lease = Lease(owner="o", token=1)
    made.count([Settlement(lease=lease, verdict=Verdict.DEAD, death=Death(reason="failed"))] * 2)
    assert numbers(made, Kind.DEAD)["failed",][0] == 2


def test_the_next_child_counts_on(memory: mmap.mmap) -> None:
    # Given what a child has left
    Meter(memory, 0, 2).count([ended(name=name) for name in ("a", "b", "c")])
    # When another one counts on the same share
    Meter(memory, 0, 2).count([ended(name=name) for name in ("c", "b", "a", "d")])
    # Then names keep their labels
    found = {labels[0]: row[0] for labels, row in numbers(Meter(memory, 0, 2), Kind.ENDED).items()}
    assert found == {"a": 2, "b": 2, OTHER: 3}


def test_labels_stay_bounded_whatever_comes(memory: mmap.mmap) -> None:
    # Given the highest bound that may be configured
    made = Meter(memory, 0, MOST_TASKS)
    # When ten thousand names come from ten thousand queues, in several states, some of them hostile
    states = ("SUCCESS", "FAILURE", "RETRY", "REVOKED")
    names = [*(f"task{number}" for number in range(10_000)), "x" * 5000, "a\x1fb\x00c\n", "größer" * 50, "\ud800"]
    for number, name in enumerate(names):
        settlement = ended(name=name, queue=f"queue{number}", state=states[number % 4], seconds=0.1, waited=0.1)
        settlement.death = Death(reason=f"reason{number}")
        made.count([settlement])
    # Then the rows fit, the labels are few, and nothing is missing
    rows = list(made.rows())
    assert len({row.labels[0] for row in rows if row.kind == Kind.RAN}) == MOST_TASKS + 1
    assert len({row.labels[0] for row in rows if row.kind == Kind.WAITED}) == MOST_QUEUES + 1
    assert len({row.labels[0] for row in rows if row.kind == Kind.DEAD}) == MOST_QUEUES + 1
    assert len(rows) < 2048
    for kind in (Kind.ENDED, Kind.DEAD):
        assert sum(row.numbers[0] for row in rows if row.kind == kind) == len(names)
    for kind in (Kind.RAN, Kind.WAITED):
        assert sum(sum(row.numbers[: len(BOUNDS) + 1]) for row in rows if row.kind == kind) == len(names)


def test_hostile_names_are_one_label_each(memory: mmap.mmap) -> None:
    made = Meter(memory, 0, 10)
    made.count([ended(name="a\x1fb\n"), ended(name="é" * 300), ended(name="\ud800")])
    assert [len(row.labels) for row in made.rows()] == [3, 1, 1, 3, 1, 3, 1]
    assert {row.labels[0] for row in made.rows() if row.kind == Kind.ENDED} == {"a?b?", "é" * 55, "?"}


def test_a_process_has_a_part_of_its_own() -> None:
    memory = mmap.mmap(-1, 2 * meter.SIZE)
    first, second = Meter(memory, 0, 10), Meter(memory, meter.SIZE, 10)
    first.count([ended()])
    second.note_lease_lost()
    assert list(second.rows()) == []
    assert (first.leases_lost, second.leases_lost) == (0, 1)
