"""The option bags: what may stand in ``broker_transport_options`` and ``result_backend_transport_options``.

Owns which of Celery's keys have an effect, and what is said of the others. Read by ``conf`` for its notes and by the
app where it opens a store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from talo.util.names import nearest

__all__ = ["BAGS", "EFFECTIVE", "FIXED", "SQS_KEYS", "bag_notes"]

#: The settings that are such bags.
BAGS = ("broker_transport_options", "result_backend_transport_options")

#: Keys that are kept on Amazon SQS: Celery's names, ``endpoint_url`` and ``ledger`` excepted.
SQS_KEYS = frozenset(
    {
        "region",
        "queue_name_prefix",
        "predefined_queues",
        "endpoint_url",
        "is_secure",
        "port",
        "wait_time_seconds",
        "ledger",
    }
)

#: Keys that are kept, those of Redis and of SQS.
EFFECTIVE = SQS_KEYS | frozenset(
    {
        "global_keyprefix",
        "socket_timeout",
        "socket_connect_timeout",
        "max_connections",
        "client_name",
        "master_name",
        "sentinel_kwargs",
        "fanout_prefix",
        "fanout_patterns",
    }
)

#: What decides where messages stand. Any other value would part this app from all others.
FIXED: dict[str, Any] = {"sep": "\x06\x16", "priority_steps": [0, 3, 6, 9]}

#: Keys of Celery's without an effect here, and why nothing is lost by that.
_NEEDLESS = {
    "visibility_timeout": "leases tell what is lost, however long tasks run (see worker_lease)",
    "queue_order_strategy": "a worker takes an even share from each of its queues",
    "polling_interval": "nothing polls: a store wakes those who wait",
    "health_check_interval": "a connection that idled for a second is looked at before use",
    "socket_keepalive": "always so",
    "socket_keepalive_options": "a broken connection is noticed by store_timeout",
    "retry_on_timeout": "nothing is sent twice; sends are retried by task_publish_retry_policy",
    "retry_policy": "sends are retried by task_publish_retry_policy, a worker tries for ever",
    "max_retries": "sends are retried by task_publish_retry_policy, a worker tries for ever",
    "interval_start": "sends are retried by task_publish_retry_policy",
    "interval_step": "sends are retried by task_publish_retry_policy",
    "interval_max": "sends are retried by task_publish_retry_policy",
    "confirm_publish": "always so: a send returns when the message is kept",
    "connect_timeout": "write broker_connection_timeout",
}


def bag_notes(name: str, bag: Mapping[str, Any]) -> Iterator[str]:
    """Return a line for each key of the bag ``name`` that has no effect."""
    for key in bag:
        if key in EFFECTIVE or key in FIXED:
            continue
        if key in _NEEDLESS:
            yield f"{name}: {key} has no effect: {_NEEDLESS[key]}"
        else:
            guess = nearest(key, [*EFFECTIVE, *FIXED, *_NEEDLESS])
            yield f"{name}: {key} is not known here and has no effect" + (f"; did you mean {guess}?" if guess else "")
