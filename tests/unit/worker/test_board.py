"""What the board and the ring keep, and for whom."""

from __future__ import annotations

import mmap
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talo.stores.base import Lease, ResultMeta, Settlement, Verdict
from talo.wire.message import Message
from talo.worker.board import Board
from talo.worker.ring import Ring


def make_board(slots: int = 3) -> Board:
    return Board(mmap.mmap(-1, Board.size(slots)), 0, slots)


def make_ring(size: int = 4096) -> tuple[Ring, mmap.mmap]:
    memory = mmap.mmap(-1, size)
    return Ring(memory, 0, size), memory


def settlement(token: int, text: str = "") -> Settlement:
    result = ResultMeta(task_id="t", status="SUCCESS", payload=text.encode(), expires=1.5)
    return Settlement(lease=Lease(owner="o", token=token), result=result)


def listed(one: Settlement) -> str:
    """What it looks like once it has been encoded: empty sequences are lists."""
    one.also, one.follow = list(one.also), list(one.follow)
    return repr(one)


def test_a_running_task_stands_on_the_board_until_it_has_ended() -> None:
    board = make_board()
    board.start(1, 77, 10.0, 12.0, 15.0)
    assert [(e.slot, e.token, e.started, e.soft, e.hard) for e in board.running()] == [(1, 77, 10.0, 12.0, 15.0)]
    board.end(1)
    assert board.running() == []


def test_the_head_tells_who_fetches_and_what_was_done() -> None:
    board = make_board()
    board.introduce(4711, "celery@häuschen/child-1")
    board.note_counts(5, 2)
    board.note_unstarted(3)
    board.note_fetching(1.25)
    board.note_ready()
    board.note_away(True)
    facts = (board.pid, board.owner, board.counts, board.unstarted, board.fetching_until, board.ready)
    assert facts == (4711, "celery@häuschen/child-1", (5, 2), 3, 1.25, 1)


def test_a_new_owner_id_keeps_the_counts() -> None:
    board = make_board()
    board.introduce(1, "first")
    board.note_counts(5, 2)
    board.introduce(1, "second")
    assert (board.owner, board.counts) == ("second", (5, 2))


def test_a_wiped_board_is_empty() -> None:
    board = make_board()
    board.introduce(1, "first")
    board.start(0, 1, 1.0, 0.0, 0.0)
    board.wipe()
    assert (board.pid, board.owner, board.running()) == (0, "", [])


def test_another_view_of_the_same_memory_sees_what_stands_in_the_ring() -> None:
    ring, memory = make_ring()
    message = Message(queue="q", headers={"id": "x", "task": "t"}, body=b"[]")
    whole = Settlement(
        lease=Lease(owner="o", token=9),
        verdict=Verdict.AGAIN,
        follow=[message],
        delay=1.5,
        charge=True,
        suspect=True,
        also=[],
    )
    assert ring.append(whole)
    assert ring.append(settlement(10, "r"))
    assert list(map(repr, Ring(memory, 0, 4096).read())) == list(map(listed, [whole, settlement(10, "r")]))


def test_a_cleared_ring_is_empty_and_takes_more() -> None:
    ring, memory = make_ring()
    ring.append(settlement(1))
    ring.clear()
    assert ring.read() == []
    ring.append(settlement(2))
    assert [s.lease.token for s in Ring(memory, 0, 4096).read()] == [2]


def test_a_full_ring_refuses_and_keeps_what_it_has() -> None:
    ring, _ = make_ring(512)
    taken = 0
    while ring.append(settlement(taken, "x" * 50)):
        taken += 1
    assert taken >= 2
    assert [s.lease.token for s in ring.read()] == list(range(taken))


def test_an_entry_larger_than_the_ring_is_refused() -> None:
    ring, _ = make_ring(512)
    assert not ring.append(settlement(1, "x" * 1000))


def test_what_cannot_be_encoded_is_refused_and_harms_nobody() -> None:
    ring, _ = make_ring()
    message = Message(queue="q", headers={"id": "x", "strange": object()}, body=b"[]")
    assert not ring.append(Settlement(lease=Lease(owner="o", token=1), follow=[message]))
    assert ring.append(settlement(2))
    assert [s.lease.token for s in ring.read()] == [2]


def test_what_cannot_be_read_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    # Given an entry that is whole but is no settlement, between two that are
    ring, memory = make_ring()
    ring.append(settlement(1))
    strange = b"\x01\x02\x03"
    entry = len(strange).to_bytes(4, "little") + zlib.crc32(strange).to_bytes(4, "little") + strange
    at = 16 + ring._head
    memory[at : at + len(entry)] = entry
    ring._head += len(entry)
    ring.append(settlement(3))
    # Then its neighbours are read, and it is told
    assert [s.lease.token for s in Ring(memory, 0, 4096).read()] == [1, 3]
    assert "cannot be read" in caplog.text


@given(st.lists(st.tuples(st.text(max_size=120), st.booleans()), max_size=60))
def test_the_ring_holds_exactly_what_was_appended_since_the_last_clear(steps: list[tuple[str, bool]]) -> None:
    ring, memory = make_ring(1024)
    kept: list[int] = []
    for number, (text, clear) in enumerate(steps):
        if clear:
            ring.clear()
            kept = []
        if ring.append(settlement(number, text)):
            kept.append(number)
    assert [s.lease.token for s in Ring(memory, 0, 1024).read()] == kept


@pytest.mark.parametrize("damage", range(0, 60, 7))
def test_a_torn_entry_ends_the_reading_and_is_not_decoded(damage: int) -> None:
    ring, memory = make_ring()
    ring.append(settlement(1, "first"))
    begin = ring._head  # the first byte of the second entry
    ring.append(settlement(2, "second" * 10))
    at = 16 + begin + damage
    memory[at] = memory[at] ^ 0xFF
    assert [s.lease.token for s in Ring(memory, 0, 4096).read()] in ([1], [1, 2][:1])
