"""The entrance of a spawned agent, ``python -m talo.worker.spawned_agent DESCRIPTOR``; used by ``worker.starters``."""

from __future__ import annotations

import sys

from talo.worker.agent import agent_main
from talo.worker.birth import begin, live
from talo.worker.lines import AgentLine
from talo.worker.share import Share

__all__ = ["main"]


def main(descriptor: int) -> int:
    """Be the agent that the birth says; return the exit code."""
    app, birth, common = begin(descriptor)
    assert birth.line is not None
    slots = birth.options.slots
    shares = [Share(number, slots, common, handles) for number, handles in enumerate(birth.shares)]
    return agent_main(app, birth.options, shares, common, AgentLine.of_agent(birth.line))


if __name__ == "__main__":
    live(lambda: main(int(sys.argv[1])))
