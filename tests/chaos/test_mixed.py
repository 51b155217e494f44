"""Messages on RabbitMQ, results on Redis: a settlement is several steps there, and a kill between two repeats one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import chain, chord
from tests.apps import flows
from tests.chaos.kit import HANGS, LONG, Fleet, Storm, full, kill


@pytest.fixture
def fleet(rabbit_url: str, redis_url: str, tmp_path: Path) -> Iterator[Fleet]:
    flows.app.conf.broker_url = rabbit_url
    flows.app.conf.result_backend = redis_url
    flows.app.close_stores()
    with Fleet(rabbit_url, tmp_path, "-c", "3", app="tests.apps.flows", results=redis_url) as fleet:
        yield fleet
    flows.app.close_stores()


@pytest.mark.timeout(HANGS)
def test_no_link_and_no_body_is_missing_under_kills(fleet: Fleet) -> None:
    # Given a chain and a chord
    members, links = full(5_000, 300), full(200, 20)
    result = chord([flows.work.s(n) for n in range(members)], flows.gather.s()).apply_async()
    tail = chain(flows.add.s(0, 0), *[flows.add.s(1) for _ in range(links)]).apply_async()

    def strike(chance: random.Random) -> None:
        children = fleet.last.children()
        if children:
            kill(chance.choice(children))

    # When children are killed at random until both have ended
    strikes = Storm().until(lambda: result.ready() and tail.ready(), strike, 0.4)
    # Then every member counts once, the body has run, and the chain has come to its end
    assert result.get(timeout=LONG) == list(range(members))
    assert tail.get(timeout=LONG) == links
    assert strikes >= 2
    assert fleet.trace.count("gather")[result.id] >= 1
