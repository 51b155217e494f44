"""The line between supervisor and agent."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from talo.worker.lines import AgentLine, Death


@pytest.fixture
def ends() -> Iterator[tuple[AgentLine, AgentLine]]:
    """The supervisor's end and the agent's, in one process."""
    supervisor = AgentLine()
    supervisor.open()
    agent = AgentLine.of_agent(supervisor.agent_ends)
    # What a fork would have closed in each of the two processes
    supervisor._to_agent = (-1, supervisor._to_agent[1])
    supervisor._to_supervisor = (supervisor._to_supervisor[0], -1)
    agent.keep_as_agent()
    yield supervisor, agent
    supervisor.close()
    agent.close()


def test_what_an_agent_said_before_it_died_is_heard(ends: tuple[AgentLine, AgentLine]) -> None:
    # Given an agent that reports, and dies at once, in the middle of a word
    supervisor, agent = ends
    agent.report("buried", 3)
    agent.report("cancel", 1, 77)
    os.write(agent._to_supervisor[1], b"bur")
    agent.close()
    # Then what it had said is heard, once
    assert supervisor.hear() == [("buried", 3, 0), ("cancel", 1, 77)]
    assert supervisor.hear() == []


def test_what_is_said_while_there_is_no_agent_is_said_to_nobody() -> None:
    # Given a line whose agent is gone and has no successor yet
    line = AgentLine()
    line.open()
    line.close()
    # Then a death is not told, which its successor is, and nothing is heard
    death = Death(
        share=0, pid=1, owner="", status="SIGKILL", exit_code=-9, peak_kib=0, running=[], victim=0, why="",
        deliberate=False,
    )  # fmt: skip
    line.tell(death)
    line.tell_stop()
    assert line.hear() == []


def test_what_a_supervisor_said_before_it_died_is_heard_and_then_that_it_is_dead(
    ends: tuple[AgentLine, AgentLine],
) -> None:
    supervisor, agent = ends
    assert agent.orders() == []
    supervisor.tell_stop()
    supervisor.close()
    [order] = agent.orders() or []
    assert type(order).__name__ == "Stop"
    assert agent.orders() is None
