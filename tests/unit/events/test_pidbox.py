"""Remote control on the wire: who is meant, what makes no request, patterns that would take for ever."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from talo.errors import MalformedMessage
from talo.events import pidbox
from talo.stores.base import Post


def post(body: Any, **headers: Any) -> Post:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Post(exchange="celery.pidbox", kind="fanout", body=data, headers=headers)


def test_a_request_comes_back_as_it_was_sent() -> None:
    request = pidbox.Request(
        method="revoke", arguments={"task_id": "a"}, destination=["w@h"], ticket="t", clock=3, expires=9.0,
        reply_to=pidbox.ReplyTo("reply.celery.pidbox", "me"),
    )  # fmt: skip
    assert pidbox.read_request(pidbox.request_post(request, pidbox.Exchanges())) == request
    reply = pidbox.reply_post(request, "w@h", {"ok": "pong"}, 4)
    assert (reply.exchange, reply.key, reply.headers) == ("reply.celery.pidbox", "me", {"ticket": "t", "clock": 4})
    assert pidbox.read_reply(reply) == {"w@h": {"ok": "pong"}}


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"7", b"[]", {}, {"method": 7}, {"method": "ping", "arguments": [1]},
     {"method": "ping", "destination": 3}, {"method": "ping", "reply_to": "x"}, {"method": "ping", "matcher": {}}],
)  # fmt: skip
def test_what_makes_no_request_is_told_apart(body: Any) -> None:
    with pytest.raises(MalformedMessage):
        pidbox.read_request(post(body))


def test_only_json_is_read() -> None:
    wrong = post({"method": "ping"})
    wrong.content_type = "application/x-python-serialize"
    with pytest.raises(MalformedMessage, match="not taken"):
        pidbox.read_request(wrong)


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, True),
        ({"destination": ["w@h"]}, True),
        ({"destination": ["x@h"]}, False),
        ({"destination": ["x@h"], "pattern": "*", "matcher": "glob"}, False),
        ({"pattern": "w@*", "matcher": "glob"}, True),
        ({"pattern": "x@*", "matcher": "glob"}, False),
        ({"pattern": "x@*"}, True),
        ({"pattern": r"w@\w+", "matcher": "pcre"}, True),
        ({"pattern": r"(w|x)@[a-z]+$", "matcher": "pcre"}, True),
        ({"pattern": "h", "matcher": "pcre"}, False),
    ],
)
def test_who_is_meant(fields: dict[str, Any], meant: bool) -> None:
    assert pidbox.is_addressed(pidbox.Request(method="ping", **fields), "w@h") is meant


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$",
        r"(a|a)*$",
        r"(a|aa){5}b",
        "a*a*a*a*",
        r"(.)\1",
        "(?P<x>a)(?P=x)",
        "(",
        "[",
        "a" * 129,
        "a{1,99999999}",
    ],
)
def test_a_pattern_that_may_take_for_ever_is_refused_at_once(pattern: str) -> None:
    began = time.monotonic()
    request = pidbox.Request(method="ping", pattern=pattern, matcher="pcre")
    try:
        assert pidbox.is_addressed(request, "a" * 250) in (True, False)
    except MalformedMessage:
        pass
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("pattern", [r"a*a*a*$", ".*.*.*b", "[^b]*[^c]*[^d]*e"])
def test_the_slowest_pattern_that_is_taken_ends_soon(pattern: str) -> None:
    assert pidbox.is_addressed(pidbox.Request(method="p", pattern=pattern, matcher="pcre"), "a" * 250 + "!") is False


def test_requests_and_replies_look_as_celerys_do() -> None:
    sample = json.loads((Path(__file__).parents[2] / "data/control/redis-ping.json").read_text())
    request = pidbox.read_request(post(sample["request"], **sample["request_headers"]))
    assert (request.method, request.destination, request.ticket) == ("ping", ["w1@wirehost"], sample["ticket"])
    again = json.loads(pidbox.request_post(request, pidbox.Exchanges()).body)
    assert again == sample["request"]
    reply = pidbox.reply_post(request, "w1@wirehost", {"ok": "pong"}, sample["reply_headers"]["clock"])
    assert json.loads(reply.body) == sample["reply"] and reply.headers == sample["reply_headers"]
