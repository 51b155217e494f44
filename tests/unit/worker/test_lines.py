"""The line between supervisor and agent."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from talo.worker.lines import AgentLine


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
