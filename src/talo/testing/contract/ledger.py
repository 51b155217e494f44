"""Contract of the ledger: what waits on a broker beside the store, and who has it, until it is struck out."""

from __future__ import annotations

import itertools
import math
import time
import uuid
from typing import Any

import pytest

from talo.stores.base import Lease, Store
from talo.stores.ledger import KEPT, Count, Entry, Holder, Ledger, Note
from talo.testing.contract._support import ContractCase, race

__all__ = ["LedgerContract"]

_tokens = itertools.count(1)


def _entry(queue: str = "q", **fields: Any) -> Entry:
    sent = time.time() - 100
    known = {"id": uuid.uuid4().hex, "task": "contract.task", "root": "", "sent": sent, "since": sent, **fields}
    return Entry(queue=queue, **known)


def _holder(owner: str = "me", at: float | None = None) -> Holder:
    return Holder(Lease(owner, next(_tokens)), "w@host", time.time() if at is None else at)


class LedgerContract(ContractCase):
    """An entry waits, is held under a lease, waits again, and is struck out; whoever asks is told which."""

    @pytest.fixture
    def ledger(self, store: Store) -> Ledger:
        assert store.ledger is not None
        return store.ledger

    def test_what_was_entered_is_found_by_everybody(self, ledger: Ledger, other: Store) -> None:
        one = _entry("näme/1 x", root="r-1", task="täsk")
        ledger.enter([one, _entry()])
        assert other.ledger is not None
        assert other.ledger.find([one.id, "unknown"]) == [Note(one, None)]
        assert other.ledger.find([]) == []

    def test_ready_and_delayed_are_told_apart(self, ledger: Ledger) -> None:
        now = time.time()
        second, first = _entry(since=now - 10), _entry(since=now - 20)
        last, next_due = _entry(since=now + 4000), _entry(since=now + 3000)
        ledger.enter([second, last, first, next_due, _entry("other")])
        assert ledger.waiting("q", 10, 0, delayed=False) == [first, second]
        assert ledger.waiting("q", 10, 1, delayed=False) == [second]
        assert ledger.waiting("q", 1, 0, delayed=True) == [next_due]
        assert ledger.counts(["q", "other", "none"]) == {"q": Count(2, 2), "other": Count(1, 0)}
        assert ledger.counts([]) == {}
        assert ledger.since("q", 0) == pytest.approx(first.since, abs=1e-3)
        assert ledger.since("q", 1) == pytest.approx(second.since, abs=1e-3)
        assert ledger.since("q", 4) is None
        assert [ledger.ahead(each) for each in (first, second, last)] == [0, 1, 3]

    def test_what_is_held_waits_no_more_and_ends_by_its_lease(self, ledger: Ledger) -> None:
        one, two = _entry(), _entry()
        ledger.enter([one, two])
        # When somebody fetches one, Then only the other waits
        holder = _holder()
        ledger.mark([], [(one, holder)])
        assert ledger.find([one.id]) == [Note(one, holder)]
        assert ledger.held(10) == [Note(one, holder)]
        assert ledger.waiting("q", 10, 0, delayed=False) == [two]
        assert ledger.counts(["q"]) == {"q": Count(1, 0)}
        # and the end of its lease strikes out it alone, as often as it is told
        for _ in range(2):
            ledger.mark([holder.lease, Lease("me", 10**9)], [])
        assert ledger.find([one.id, two.id]) == [Note(two, None)]
        assert ledger.held(10) == []

    def test_what_was_never_entered_is_known_when_it_is_held(self, ledger: Ledger) -> None:
        foreign, holder = _entry(), _holder()
        ledger.mark([], [(foreign, holder)])
        assert ledger.find([foreign.id]) == [Note(foreign, holder)]
        ledger.mark([holder.lease], [])
        assert ledger.find([foreign.id]) == []

    def test_the_last_who_fetched_it_has_it(self, ledger: Ledger) -> None:
        # Given a delivery that was handed out twice
        one, dead, alive = _entry(), _holder("dead"), _holder("alive")
        ledger.enter([one])
        ledger.mark([], [(one, dead)])
        ledger.mark([], [(one, alive)])
        # Then the first lease means nothing any more
        ledger.mark([dead.lease], [])
        ledger.free([(dead.lease, None)])
        assert ledger.find([one.id]) == [Note(one, alive)]
        ledger.mark([alive.lease], [])
        assert ledger.find([one.id]) == []

    def test_one_step_ends_and_holds(self, ledger: Ledger) -> None:
        # Given a task that retried: it waits anew before its attempt has ended
        one, first = _entry(), _holder()
        ledger.mark([], [(one, first)])
        ledger.enter([one])
        # When the turn that ends the attempt fetches it again, Then it is held
        second = _holder()
        ledger.mark([first.lease], [(one, second)])
        assert ledger.find([one.id]) == [Note(one, second)]

    def test_what_is_entered_again_begins_anew(self, ledger: Ledger) -> None:
        one, holder = _entry(), _holder()
        ledger.mark([], [(one, holder)])
        again = one._replace(task="other", sent=one.sent + 5, since=one.sent + 5000)
        ledger.enter([again])
        ledger.mark([holder.lease], [])
        assert ledger.find([one.id]) == [Note(again, None)]
        assert ledger.counts(["q"]) == {"q": Count(0, 1)}

    def test_what_is_given_back_waits_as_before_or_until_its_time(self, ledger: Ledger) -> None:
        now, later = time.time(), time.time() + 500
        one, two = _entry(since=now - 50), _entry(since=now - 60)
        holders = _holder(), _holder()
        ledger.mark([], list(zip((one, two), holders, strict=True)))
        ledger.free([(holders[0].lease, None), (holders[1].lease, later), (Lease("nobody", 1), None)])
        assert ledger.waiting("q", 10, 0, delayed=False) == [one]
        [delayed] = ledger.waiting("q", 10, 0, delayed=True)
        assert delayed[:5] == two[:5]
        assert delayed.since == pytest.approx(later, abs=1e-3)
        # and its lease is over
        ledger.mark([each.lease for each in holders], [])
        assert len(ledger.find([one.id, two.id])) == 2
        # until somebody has it again, and again
        again = _holder()
        ledger.mark([], [(two, again)])
        ledger.free([(again.lease, None)])
        assert ledger.waiting("q", 10, 0, delayed=True) == [delayed]

    def test_only_what_nobody_holds_is_dropped(self, ledger: Ledger) -> None:
        one, two, holder = _entry(), _entry(), _holder()
        ledger.enter([one, two])
        ledger.mark([], [(two, holder)])
        ledger.drop([one, two, _entry()])
        assert ledger.find([one.id, two.id]) == [Note(two, holder)]

    def test_a_task_in_two_queues_has_two_entries(self, ledger: Ledger) -> None:
        here = _entry("a")
        there, holder = here._replace(queue="b"), _holder()
        ledger.enter([here, there])
        ledger.mark([], [(here, holder)])
        assert sorted(ledger.find([here.id])) == [Note(here, holder), Note(there, None)]
        ledger.mark([holder.lease], [])
        assert ledger.find([here.id]) == [Note(there, None)]

    def test_a_queue_is_cleared_by_time(self, ledger: Ledger) -> None:
        now = time.time()
        old, later, held = _entry(since=now - 10), _entry(since=now + 1000), _entry(since=now - 10)
        ledger.enter([old, later, held, other := _entry("other")])
        ledger.mark([], [(held, _holder())])
        ledger.clear("q", -math.inf, now)
        assert {note.entry.id for note in ledger.find([old.id, later.id, held.id, other.id])} == {
            later.id,
            held.id,
            other.id,
        }
        ledger.clear("q", now + 900, math.inf)
        assert ledger.find([later.id]) == []

    def test_many_at_once(self, ledger: Ledger) -> None:
        entries = [_entry(since=time.time() - 2000 + n) for n in range(1200)]
        holders = [_holder() for _ in entries]
        ledger.enter(entries)
        assert ledger.counts(["q"]) == {"q": Count(1200, 0)}
        assert ledger.waiting("q", 2, 1100, delayed=False) == entries[1100:1102]
        ledger.mark([], list(zip(entries, holders, strict=True)))
        assert len(ledger.held(2000)) == 1200
        assert len(ledger.held(7)) == 7
        ledger.free([(holder.lease, None) for holder in holders[:600]])
        ledger.mark([holder.lease for holder in holders], [])
        assert ledger.counts(["q"]) == {"q": Count(600, 0)}
        ledger.drop(entries[:10])
        ledger.clear("q", -math.inf, time.time())
        assert ledger.counts(["q"]) == {}
        assert ledger.find([each.id for each in entries]) == []

    def test_what_nobody_strikes_out_expires(self, ledger: Ledger, store: Store) -> None:
        # Given what has waited, and was held, for longer than entries are kept
        now = time.time()
        old, held = _entry(since=now - KEPT - 10), _entry("other")
        kept = [_entry(since=now - KEPT + 1000), _entry(since=now + KEPT), fresh := _entry("other")]
        ledger.enter([old, *kept])
        ledger.mark([], [(held, _holder(at=now - KEPT - 10)), (fresh, _holder())])
        # When it is cleaned up, Then that is gone, and nothing else
        while store.results.cleanup(1):
            continue
        assert {note.entry.id for note in ledger.find([each.id for each in (old, held, *kept)])} == {
            each.id for each in kept
        }
        assert [note.entry.id for note in ledger.held(10)] == [fresh.id]

    def test_writers_of_the_same_entries_do_not_hinder_each_other(self, ledger: Ledger, other: Store) -> None:
        beside = other.ledger
        assert beside is not None
        entries = [_entry() for _ in range(40)]
        first, second = [[(each, _holder(owner)) for each in entries] for owner in ("a", "b")]

        def write(role: Ledger, held: list[tuple[Entry, Holder]]) -> None:
            for _ in range(5):
                role.enter(entries if held is first else entries[::-1])
                role.mark([], held if held is first else held[::-1])
                role.mark([holder.lease for _, holder in held], [])

        race([lambda: write(ledger, first), lambda: write(beside, second)])
        assert [note for note in ledger.find([each.id for each in entries]) if note.holder is not None] == []
