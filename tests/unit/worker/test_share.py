"""Tokens are had by one, commands reach the child, and the death of the supervisor is heard."""

from __future__ import annotations

import os
import signal

from talo.worker.lines import AgentLine, Death, Running, Stop
from talo.worker.share import Command, Common, Share


def make_share() -> Share:
    return Share(0, 1, Common())


def test_whoever_reads_a_token_has_it() -> None:
    share = make_share()
    share.put_tokens([5, 6, 7])
    assert share.claim() == 5
    assert share.take_tokens() == [6, 7]
    assert share.claim() == 0


def test_the_kernel_arbitrates_between_processes() -> None:
    # Given 400 tokens, and a second process that takes what it can
    share = make_share()
    share.put_tokens(list(range(1, 401)))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        got = share.take_tokens()
        os.write(write, b" ".join(b"%d" % token for token in got) or b"-")
        os._exit(0)
    mine = []
    while token := share.claim():
        mine.append(token)
    os.waitpid(pid, 0)
    text = os.read(read, 65536)
    theirs = [] if text == b"-" else [int(word) for word in text.split()]
    # Then each token was had exactly once
    assert sorted(mine + theirs) == list(range(1, 401))


def test_a_command_arrives_with_its_token() -> None:
    share = make_share()
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: heard.append(1))
    try:
        share.ring_bell(os.getpid(), Command.SOFT, 42)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [1]
    assert share.commands() == [(Command.SOFT, 42)]
    assert share.commands() == []


def test_a_bell_for_the_dead_is_silent() -> None:
    share = make_share()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    share.ring_bell(pid, Command.DRAIN)
    assert share.commands() == [(Command.DRAIN, 0)]


def test_without_a_supervisor_the_command_is_to_drain() -> None:
    share = make_share()
    os.close(share.bell_write)
    assert share.commands() == [(Command.DRAIN, 0)]


def test_a_reset_share_is_as_new() -> None:
    share = make_share()
    share.put_tokens([1])
    share.board.introduce(1, "o")
    share.reset()
    assert (share.claim(), share.board.owner, share.commands()) == (0, "", [])


def test_every_process_sees_a_revocation() -> None:
    common = Common()
    before = common.revocations
    pid = os.fork()
    if pid == 0:
        common.note_revocation()
        os._exit(0)
    os.waitpid(pid, 0)
    assert common.revocations == before + 1


def make_death() -> Death:
    return Death(
        share=3,
        pid=77,
        owner="o",
        status="SIGKILL",
        exit_code=-9,
        peak_kib=1000,
        running=[Running(5, 1.5, 0.0)],
        victim=0,
        why="",
        deliberate=False,
    )


def test_agent_and_supervisor_hear_each_other() -> None:
    line = AgentLine()
    line.open()
    pid = os.fork()
    if pid == 0:
        line.keep_as_agent()
        while not (orders := line.orders()):
            pass
        line.report("buried", orders[0].share if isinstance(orders[0], Death) else -1)
        while not (orders := line.orders()):
            pass
        os._exit(0 if orders == [Stop()] else 1)
    line.keep_as_supervisor()
    line.tell(make_death())
    heard: list[tuple[str, int, int]] = []
    while not heard:
        heard = line.hear()
    assert heard == [("buried", 3, 0)]
    line.tell_stop()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_agent_knows_that_its_supervisor_is_dead() -> None:
    line = AgentLine()
    line.open()
    pid = os.fork()
    if pid == 0:
        line.keep_as_agent()
        while line.orders() is not None:
            pass
        os._exit(0)
    line.keep_as_supervisor()
    line.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
