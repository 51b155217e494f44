"""Celery's exchanges on Redis: names of channels and lists under every option, foreign items, nothing left behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from talo.stores.base import Post
from talo.stores.redis.store import RedisStore
from tests.servers.redis import RedisServer, database_of

LONG = 20.0


@pytest.mark.one_server
@pytest.mark.parametrize(
    ("options", "channel"),
    [
        ({}, "/{db}.celeryev/task.sent"),
        ({"keyprefix": "pre:"}, "pre:/{db}.celeryev/task.sent"),
        ({"fanout_prefix": False}, "celeryev/task.sent"),
        ({"fanout_prefix": "mine.{db}."}, "mine.{db}.celeryev/task.sent"),
        ({"fanout_patterns": False}, "/{db}.celeryev"),
    ],
)
def test_a_channel_is_named_as_celery_names_it(
    redis_server: RedisServer, redis_url: str, options: dict[str, Any], channel: str
) -> None:
    store = RedisStore(redis_url, **options)
    name = channel.replace("{db}", str(database_of(redis_url)))
    try:
        with store.bus.hear("celeryev", "topic", ["task.#"], queue="q") as ear:
            # Given what is no envelope, and an event as kombu writes it
            redis_server.command("PUBLISH", name, "junk", db=database_of(redis_url))
            envelope = {
                "body": "e30=", "content-type": "application/json", "content-encoding": "utf-8",
                "headers": {"hostname": "w@h"},
                "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "celeryev",
                                                                            "routing_key": "task.sent"}},
            }  # fmt: skip
            redis_server.command("PUBLISH", name, json.dumps(envelope), db=database_of(redis_url))
            # Then the event is heard, and so is our own
            heard = ear.get(LONG)
            assert heard is not None
            assert (heard.key, heard.body, heard.headers) == ("task.sent", b"{}", {"hostname": "w@h"})
            store.bus.post([Post(exchange="celeryev", kind="topic", key="worker.online", body=b"1")])
            store.bus.post([Post(exchange="celeryev", kind="topic", key="task.sent", body=b"2")])
            assert (ear.get(LONG) or Post(exchange="", kind="")).body == b"2"
    finally:
        store.close()


@pytest.mark.one_server
def test_an_answer_finds_the_list_that_is_bound_and_nothing_is_left(redis_server: RedisServer, redis_url: str) -> None:
    store = RedisStore(redis_url, keyprefix="pre:")
    db = database_of(redis_url)
    reply = Post(exchange="reply.celery.pidbox", kind="direct", key="me", body=b"{}")
    try:
        store.bus.post([reply])
        assert redis_server.command("DBSIZE", db=db) == b":0\r\n"
        with store.bus.hear("reply.celery.pidbox", "direct", ["me"], queue="me.reply.celery.pidbox") as ear:
            members = redis_server.command("SMEMBERS", "pre:_kombu.binding.reply.celery.pidbox", db=db)
            assert b"me\x06\x16\x06\x16me.reply.celery.pidbox" in members
            assert ear.get(0) is None and ear.get(0.05) is None
            store.bus.post([reply, reply])
            for key in ("pre:_kombu.binding.reply.celery.pidbox", "pre:me.reply.celery.pidbox"):
                assert int(redis_server.command("TTL", key, db=db)[1:]) > 0
            assert [(ear.get(LONG) or reply).body for _ in range(2)] == [b"{}", b"{}"]
            store.bus.post([reply])
        ear.close()
        assert redis_server.command("DBSIZE", db=db) == b":0\r\n"
    finally:
        store.close()


@pytest.mark.one_server
def test_who_posts_is_told_whether_anybody_heard(redis_url: str) -> None:
    store = RedisStore(redis_url)
    beat = Post(exchange="celeryev", kind="topic", key="worker.heartbeat")
    try:
        assert store.bus.post([beat]) is False
        with store.bus.hear("celeryev", "topic", ["task.#"], queue="q"):
            assert store.bus.post([beat]) is True
    finally:
        store.close()


def test_who_answers_is_told_that_nobody_waits_any_more(redis_url: str) -> None:
    store = RedisStore(redis_url)
    reply = Post(exchange="reply.celery.pidbox", kind="direct", key="me")
    try:
        with store.bus.hear("reply.celery.pidbox", "direct", ["me"], queue="me.reply.celery.pidbox"):
            assert store.bus.post([reply]) is True
        assert store.bus.post([reply]) is False
    finally:
        store.close()
