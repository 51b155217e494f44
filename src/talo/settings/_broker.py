"""Rows of the table: the broker and the connections to it."""

from __future__ import annotations

from talo.settings._kinds import BOOL, DICT, FLOAT, INT, PATH, SECONDS, STR, URL, choice, either, maybe
from talo.settings._option import Group, Option, Same, Status

__all__ = ["GROUPS"]

_URL = "name the broker by one URL: broker_url = 'redis://user:password@host:port/db'"
_RABBITMQ = "is not kept on RabbitMQ yet"
_ALWAYS = "until then a worker that starts needs its broker, and one that runs connects again for ever"

_BROKER = (
    Option(
        "broker_url",
        URL,
        "sqlite:///talo.sqlite3",
        ("BROKER_URL",),
        "Where tasks wait, as a URL (a list, or several joined by ';', are alternatives).",
        celery_default="amqp://",
    ),
    Option(
        "broker_read_url",
        URL,
        Same("broker_url"),
        ("BROKER_READ_URL",),
        "Where workers read; anything but broker_url is refused.",
    ),
    Option(
        "broker_write_url",
        URL,
        Same("broker_url"),
        ("BROKER_WRITE_URL",),
        "Where senders write; anything but broker_url is refused.",
    ),
    Option(
        "broker_failover_strategy",
        maybe(either(choice("round-robin", "shuffle"), PATH)),
        None,
        ("BROKER_FAILOVER_STRATEGY",),
        "On Redis: the order in which alternative URLs are tried, round-robin (None is the same) or shuffle.",
    ),
    Option(
        "broker_heartbeat",
        maybe(SECONDS),
        120,
        ("BROKER_HEARTBEAT",),
        "Seconds between heartbeats on an AMQP connection; None or 0: none.",
    ),
    Option(
        "broker_heartbeat_checkrate",
        FLOAT,
        3.0,
        ("BROKER_HEARTBEAT_CHECKRATE",),
        "How often in that time the server's heartbeat is looked for.",
        Status.COMING,
        _RABBITMQ,
    ),
    Option(
        "broker_use_ssl",
        maybe(either(BOOL, DICT)),
        False,
        ("BROKER_USE_SSL",),
        "TLS to the broker: true, or its options (ca_certs, certfile, keyfile, cert_reqs, check_hostname).",
    ),
    Option(
        "broker_pool_limit",
        maybe(INT),
        3,
        ("BROKER_POOL_LIMIT",),
        "On Redis: the most connections of one process, listeners aside; at least 2; None or 0: no limit.",
        celery_default=10,
        follows=False,
    ),
    Option(
        "broker_pool_acquire_timeout",
        maybe(SECONDS),
        None,
        ("BROKER_POOL_ACQUIRE_TIMEOUT",),
        "The longest wait for a free one of them, in seconds; publish_timeout and store_timeout end it in any case.",
    ),
    Option(
        "broker_connection_timeout",
        maybe(SECONDS),
        None,
        ("BROKER_CONNECTION_TIMEOUT",),
        "On Redis: seconds to connect; None: within publish_timeout and store_timeout.",
        celery_default=4.0,
        follows=False,
    ),
    Option(
        "broker_connection_retry",
        BOOL,
        True,
        ("BROKER_CONNECTION_RETRY",),
        "A worker that lost its broker connects again; False: it exits.",
        status=Status.COMING,
        reason=_ALWAYS,
    ),
    Option(
        "broker_connection_retry_on_startup",
        maybe(BOOL),
        None,
        ("BROKER_CONNECTION_RETRY_ON_STARTUP",),
        "A worker that starts without a broker waits for it; None: what broker_connection_retry says.",
        status=Status.COMING,
        reason=_ALWAYS,
    ),
    Option(
        "broker_connection_max_retries",
        maybe(INT),
        100,
        ("BROKER_CONNECTION_MAX_RETRIES",),
        "How often a worker tries in a row before it exits; None or 0: for ever.",
        status=Status.COMING,
        reason=_ALWAYS,
    ),
    Option(
        "broker_channel_error_retry",
        BOOL,
        False,
        ("BROKER_CHANNEL_ERROR_RETRY",),
        "A worker goes on after an error that the broker gave for its channel.",
        Status.COMING,
        _RABBITMQ,
    ),
    Option(
        "broker_login_method",
        maybe(STR),
        None,
        ("BROKER_LOGIN_METHOD",),
        "The AMQP login method.",
        Status.COMING,
        _RABBITMQ,
    ),
    Option(
        "broker_native_delayed_delivery_queue_type",
        choice("classic", "quorum"),
        "quorum",
        ("BROKER_NATIVE_DELAYED_DELIVERY_QUEUE_TYPE",),
        "The type of RabbitMQ queues in which delayed tasks wait.",
    ),
    Option(
        "broker_delays_in_result_backend",
        BOOL,
        False,
        (),
        "On RabbitMQ: delayed tasks wait in the store of results, where they can be rescheduled, until Talo's workers "
        "send them on; retries wait on RabbitMQ all the same.",
    ),
    Option(
        "broker_ledger",
        BOOL,
        False,
        (),
        "On RabbitMQ and SQS: what waits there is also noted in the store of results, so that explain, the dashboard "
        "and metrics know it. A send and an end are one more exchange each; only Talo's workers may fetch.",
        own=True,
    ),
    Option(
        "broker_transport_options",
        DICT,
        {},
        ("BROKER_TRANSPORT_OPTIONS",),
        "Options of the broker's store; on Redis global_keyprefix, socket_timeout, socket_connect_timeout, "
        "max_connections, client_name, and for sentinel:// master_name and sentinel_kwargs. A worker names those "
        "without effect at start.",
    ),
    Option(
        "redis_priority_order",
        choice("high-first", "low-first"),
        "high-first",
        (),
        "On Redis: whether 9 or 0 is fetched first. Celery's workers take 0 first.",
        celery_default="low-first",
        own=True,
    ),
    Option(
        "store_timeout",
        SECONDS,
        5.0,
        (),
        "Seconds after which an operation of a store ends with StoreUnavailable.",
        own=True,
    ),
    Option(
        "db_auto_migrate",
        BOOL,
        True,
        (),
        "Whether tables are made and changed in a database at its first use; if not, by talo db migrate only.",
        own=True,
    ),
    Option("broker_host", maybe(STR), None, ("BROKER_HOST",), "The server.", Status.REFUSED, _URL),
    Option("broker_port", maybe(INT), None, ("BROKER_PORT",), "The port.", Status.REFUSED, _URL),
    Option("broker_user", maybe(STR), None, ("BROKER_USER",), "The user.", Status.REFUSED, _URL),
    Option(
        "broker_password", maybe(STR), None, ("BROKER_PASSWORD",), "The password.", Status.REFUSED, _URL, secret=True
    ),
    Option("broker_vhost", maybe(STR), None, ("BROKER_VHOST",), "The virtual host.", Status.REFUSED, _URL),
    Option(
        "broker_transport",
        maybe(STR),
        None,
        ("BROKER_TRANSPORT", "BROKER_BACKEND"),
        "The kind of broker.",
        Status.REFUSED,
        _URL,
    ),
)

GROUPS = (Group("Broker", _BROKER),)
