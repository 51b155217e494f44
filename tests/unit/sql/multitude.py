"""Rows in such numbers that no client would send them in time: a few come in by the store's own verbs, and the others
are made from these inside of the database.

Owns what a copy is: under numbers and an id of its own it stands in every table in which the first one stands, and what
is kept in bytes tells of that id, too. For PostgreSQL, whoever opened the store there. ``condition`` says what the
tables are like.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import psycopg

from talo.stores.base import Delivery, Settlement, Store
from talo.stores.history import RunRecord
from talo.testing.contract._support import document, end, message
from talo.wire.message import Message

__all__ = ["DAY", "condition", "done", "grow", "sent", "sow"]

DAY = 86_400.0
#: Of each kind by the store's own verbs, and copies of one statement.
_SEEDS, _STEP = 1000, 100_000
#: Who does what has ended.
_OWNER = "sower"
#: Days over which the times of what is delayed are spread.
_DAYS = 30

_RENAMED = """
CREATE FUNCTION pg_temp.renamed(content bytea, old text, new text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT decode(replace(encode(content, 'hex'), encode(old::bytea, 'hex'), encode(new::bytea, 'hex')), 'hex')
$$
"""
#: What is there, by kind: the rows of one message or one ended task.
_SEED = {
    "waiting": f"""
        SELECT m AS message FROM talo_ready AS r JOIN talo_message AS m ON m.id = r.message LIMIT {_SEEDS}
    """,
    "delayed": f"""
        SELECT m AS message, d.due FROM talo_delayed AS d JOIN talo_message AS m ON m.id = d.message LIMIT {_SEEDS}
    """,
    "ended": f"""
        SELECT r AS result, h AS run, d.run AS record
        FROM talo_result AS r JOIN talo_history AS h ON h.id = r.task_id JOIN talo_history_detail AS d ON d.seq = h.seq
        LIMIT {_SEEDS}
    """,
}
#: So many copies of them, each with a number and an id.
_COPIES = """
    WITH copy AS (
        SELECT nextval('talo_serial') AS number, gen_random_uuid()::text AS id, seed.*
        FROM seed CROSS JOIN generate_series(1, %(each)s) LIMIT %(count)s
    ),
"""
_MESSAGES = """
    messages AS (
        INSERT INTO talo_message (id, queue, priority, task_id, task, head, body, deliveries, suspect)
        SELECT number, (message).queue, (message).priority, id, (message).task,
            pg_temp.renamed((message).head, (message).task_id, id), (message).body, (message).deliveries,
            (message).suspect
        FROM copy
    )
"""
_GROW = {
    "waiting": f"""
        {_COPIES} {_MESSAGES}
        INSERT INTO talo_ready (queue, priority, place, message)
        SELECT (message).queue, (message).priority, number, number FROM copy
    """,
    "delayed": f"""
        {_COPIES} {_MESSAGES}
        INSERT INTO talo_delayed (due, message, queue, priority, task_id)
        SELECT due, number, (message).queue, (message).priority, id FROM copy
    """,
    "ended": f"""
        {_COPIES} results AS (
            INSERT INTO talo_result (task_id, status, ready, payload, expires)
            SELECT id, (result).status, (result).ready, pg_temp.renamed((result).payload, (result).task_id, id),
                (result).expires
            FROM copy
        ), runs AS (
            INSERT INTO talo_history
                (seq, ended, state, name, queue, worker, id, attempt, root, fingerprint, error, expires)
            SELECT number, (run).ended, (run).state, (run).name, (run).queue, (run).worker, id, (run).attempt,
                (run).root, (run).fingerprint, (run).error, (run).expires
            FROM copy WHERE %(kept)s
        )
        INSERT INTO talo_history_detail (seq, run)
        SELECT number, pg_temp.renamed(record, (run).id, id) FROM copy WHERE %(kept)s
    """,
}
_CONDITION = """
SELECT relname, n_live_tup, n_dead_tup, autovacuum_count,
    pg_table_size(relid) / 1048576, pg_indexes_size(relid) / 1048576
FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND pg_total_relation_size(relid) > 1048576 ORDER BY relname
"""


def sent(queue: str = "q", **fields: Any) -> Message:
    """A message as an app sends it, with an id as long as all others."""
    return message(queue, id=str(uuid.uuid4()), body="x" * 100, **fields)


def done(delivery: Delivery, *, keep: float = DAY, **fields: Any) -> Settlement:
    """The end of a task that went well: a result and a run that are kept for so many seconds."""
    assert delivery.message is not None
    name, task_id = delivery.message.task or "", delivery.message.id or ""
    run = RunRecord(
        name=name, queue=delivery.queue, state="SUCCESS", ended=time.time(), seconds=0.01, waited=0.1, keep=keep,
        id=task_id, worker="w@h", sent=time.time(), args="(1, 2)", kwargs="{}",
    )  # fmt: skip
    return end(delivery, result=document(task_id, expires=keep), run=run, **fields)


def sow(store: Store) -> None:
    """A thousand each that have ended, that wait, and that are delayed for a day or longer."""
    store.broker.open(_OWNER, worker="w", slots=1, lease=DAY)
    store.broker.send([sent() for _ in range(_SEEDS)])
    settlements: list[Settlement] = []
    while deliveries := store.broker.turn(settlements, _OWNER, ["q"], 100).deliveries:
        settlements = [done(each, keep=_DAYS * DAY) for each in deliveries]
    store.broker.close_owner(_OWNER)
    store.broker.send([sent() for _ in range(_SEEDS)])
    tomorrow = time.time() + DAY
    dues = [tomorrow + (_DAYS - 1) * DAY * at / _SEEDS for at in range(_SEEDS)]
    store.broker.send([sent(due=due).timed(due) for due in dues])


def grow(store: Store, url: str, *, waiting: int, ended: int, delayed: int) -> None:
    """Of what the store has in its tables at ``url`` make so many more each. Of ended ones the history keeps as many as
    it does by itself."""
    assert store.history is not None
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(_RENAMED.encode())
        for kind, count in (("waiting", waiting), ("ended", ended), ("delayed", delayed)):
            server.execute(f"CREATE TEMPORARY TABLE seed AS {_SEED[kind]}".encode())
            for at in range(0, count, _STEP):
                some = min(_STEP, count - at)
                values = {"count": some, "each": -(-some // _SEEDS), "kept": at + some <= store.history.max_runs}
                server.execute(_GROW[kind].encode(), values)
            server.execute("DROP TABLE seed")


def condition(url: str) -> list[str]:
    """What the larger tables are like, a line for each."""
    with psycopg.connect(url) as server:
        rows = server.execute(_CONDITION.encode()).fetchall()
    return [
        f"{name}: {live} rows, {dead} dead, vacuumed {times} times, {size} MB, indexes {indexes} MB"
        for name, live, dead, times, size, indexes in rows
    ]
