"""Rows of the table: results, and the stores that keep them."""

from __future__ import annotations

import math

from talo.settings._kinds import ANY, BOOL, DICT, FLOAT, INT, PATH, SECONDS, STR, URL, either, maybe
from talo.settings._option import Group, Option, Same, Status

__all__ = ["GROUPS"]

_REPEATS = "waits for repeated reads and writes of a client; a worker repeats its own until they are done"
_ENGINE = "Talo speaks to a database without SQLAlchemy; options of the connection stand in the URL"
_URL = "name the server by one URL: result_backend = 'redis://user:password@host:port/db'"
_SQL = "Talo names its tables itself; on PostgreSQL the URL chooses their schema (?options=-csearch_path%3Dqueue)"
_RPC = "results over rpc:// go straight to the queue of whoever sent the task, and are not written to disk"
_DJANGO = "waits for django-cache results; set result_backend itself"

_RESULTS = (
    Option(
        "result_backend",
        maybe(URL),
        Same("broker_url"),
        ("CELERY_RESULT_BACKEND",),
        "Where results are kept, as a URL; 'disabled://' keeps none. Not set: beside the tasks.",
        celery_default=None,
    ),
    Option(
        "result_backend_always_retry",
        BOOL,
        False,
        ("CELERY_RESULT_BACKEND_ALWAYS_RETRY",),
        "Reading and storing of results is tried again after an error that may pass.",
        status=Status.COMING,
        reason=_REPEATS,
    ),
    Option(
        "result_backend_max_sleep_between_retries_ms",
        INT,
        10_000,
        ("CELERY_RESULT_BACKEND_MAX_SLEEP_BETWEEN_RETRIES_MS",),
        "The longest pause between such attempts, in milliseconds.",
        status=Status.COMING,
        reason=_REPEATS,
    ),
    Option(
        "result_backend_base_sleep_between_retries_ms",
        INT,
        10,
        ("CELERY_RESULT_BACKEND_BASE_SLEEP_BETWEEN_RETRIES_MS",),
        "The first pause between such attempts, in milliseconds.",
        status=Status.COMING,
        reason=_REPEATS,
    ),
    Option(
        "result_backend_max_retries",
        FLOAT,
        math.inf,
        ("CELERY_RESULT_BACKEND_MAX_RETRIES",),
        "How many such attempts are made.",
        status=Status.COMING,
        reason=_REPEATS,
    ),
    Option(
        "result_backend_thread_safe",
        BOOL,
        False,
        ("CELERY_RESULT_BACKEND_THREAD_SAFE",),
        "One result backend object serves all threads.",
        reason="always so: a store may be called from any thread",
    ),
    Option(
        "result_backend_transport_options",
        DICT,
        {},
        ("CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS",),
        "The same as broker_transport_options for the result store.",
    ),
    Option("result_serializer", STR, "json", ("CELERY_RESULT_SERIALIZER",), "The form in which results are kept."),
    Option("result_compression", maybe(STR), None, ("CELERY_RESULT_COMPRESSION",), "How results are compressed."),
    Option(
        "result_extended",
        BOOL,
        False,
        ("CELERY_RESULT_EXTENDED",),
        "Results also tell name, arguments, worker, retries and queue.",
    ),
    Option(
        "result_expires",
        maybe(SECONDS),
        86_400.0,
        ("CELERY_TASK_RESULT_EXPIRES", "CELERY_RESULT_EXPIRES"),
        "Seconds that a result is kept; None or 0: for ever.",
    ),
    Option(
        "result_failure_expires",
        maybe(SECONDS),
        None,
        ("CELERY_RESULT_FAILURE_EXPIRES",),
        "The same for failures; None: as result_expires.",
    ),
    Option(
        "result_chord_expires",
        maybe(SECONDS),
        None,
        ("CELERY_RESULT_CHORD_EXPIRES",),
        "Seconds without a new part after which a chord that is not complete is forgotten; None: 30 days.",
    ),
    Option(
        "result_cache_max",
        maybe(INT),
        -1,
        ("CELERY_MAX_CACHED_RESULTS",),
        "How many finished results a client remembers; -1: none, None or 0: all.",
        status=Status.COMING,
        reason="waits for a cache in the client; an AsyncResult remembers what it has read itself",
    ),
    Option(
        "result_chord_join_timeout",
        SECONDS,
        3.0,
        ("CELERY_RESULT_CHORD_JOIN_TIMEOUT",),
        "Seconds to read the parts of a finished chord.",
        reason="nobody joins: whoever runs the body reads its parts within store_timeout",
    ),
    Option(
        "result_chord_retry_interval",
        SECONDS,
        1.0,
        ("CELERY_RESULT_CHORD_RETRY_INTERVAL",),
        "Seconds between looks whether a chord is complete.",
        reason="a chord is counted by its last part: nobody has to look",
    ),
    Option(
        "override_backends",
        DICT,
        {},
        ("CELERY_OVERRIDE_BACKENDS",),
        "Result backends of your own, for an app under Celery's name: URL scheme to class path.",
    ),
)

_DATABASE = (
    Option(
        "database_create_tables_at_setup",
        BOOL,
        True,
        ("CELERY_DATABASE_CREATE_TABLES_AT_SETUP", "DATABASE_CREATE_TABLES_AT_SETUP"),
        "Tables are made when the store is opened; False: by a command only.",
        Status.COMING,
        "say db_auto_migrate = False instead, and run 'talo db migrate'",
    ),
    Option(
        "database_engine_options",
        DICT,
        {"pool_pre_ping": True, "pool_recycle": 3600},
        ("CELERY_RESULT_ENGINE_OPTIONS",),
        "Options of SQLAlchemy's engine.",
        Status.REFUSED,
        _ENGINE,
    ),
    Option(
        "database_short_lived_sessions",
        BOOL,
        False,
        ("CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",),
        "Sessions are not kept between uses.",
        reason="always so: a store's connection is checked before it is used again",
    ),
    Option(
        "database_table_schemas",
        maybe(DICT),
        None,
        ("CELERY_DATABASE_TABLE_SCHEMAS", "DATABASE_TABLE_SCHEMAS"),
        "The database schemas of the result tables.",
        Status.COMING,
        _SQL,
    ),
    Option(
        "database_table_names",
        maybe(DICT),
        None,
        ("CELERY_RESULT_DB_TABLENAMES",),
        "The names of the result tables.",
        Status.COMING,
        _SQL,
    ),
    Option(
        "database_engine_callback",
        maybe(PATH),
        None,
        ("CELERY_DATABASE_ENGINE_CALLBACK", "DATABASE_ENGINE_CALLBACK"),
        "A function that changes SQLAlchemy's engine.",
        Status.REFUSED,
        _ENGINE,
    ),
    Option(
        "database_url",
        maybe(URL),
        None,
        ("CELERY_RESULT_DBURI",),
        "The database of the results.",
        Status.REFUSED,
        "name the database by result_backend = 'sqlite:///FILE'",
    ),
)

_RPC_RESULTS = (
    Option(
        "result_persistent",
        maybe(BOOL),
        None,
        ("CELERY_RESULT_PERSISTENT",),
        "Results over rpc:// are written to disk.",
        Status.COMING,
        _RPC,
    ),
    Option(
        "result_exchange",
        STR,
        "celeryresults",
        ("CELERY_RESULT_EXCHANGE",),
        "The exchange of results over rpc://.",
        Status.COMING,
        _RPC,
    ),
    Option("result_exchange_type", STR, "direct", ("CELERY_RESULT_EXCHANGE_TYPE",), "Its type.", Status.COMING, _RPC),
)

_CACHE = (
    Option(
        "cache_backend",
        maybe(STR),
        None,
        ("CELERY_CACHE_BACKEND",),
        "The name of Django's cache for django-cache results.",
        Status.COMING,
        _DJANGO,
    ),
    Option(
        "cache_backend_options",
        DICT,
        {},
        ("CELERY_CACHE_BACKEND_OPTIONS",),
        "Options of that cache.",
        Status.COMING,
        _DJANGO,
    ),
)

_REDIS = (
    Option(
        "redis_backend_health_check_interval",
        maybe(SECONDS),
        None,
        ("CELERY_REDIS_BACKEND_HEALTH_CHECK_INTERVAL",),
        "Seconds of idleness after which a connection is checked before use.",
        reason="needless: a connection that idled for a second is looked at before use",
    ),
    Option(
        "redis_backend_use_ssl",
        maybe(either(BOOL, DICT)),
        None,
        ("CELERY_REDIS_BACKEND_USE_SSL",),
        "TLS options of the result connection (ssl_cert_reqs, ssl_ca_certs, ssl_certfile, ssl_keyfile).",
    ),
    Option(
        "redis_backend_credential_provider",
        maybe(ANY),
        None,
        ("CELERY_REDIS_BACKEND_CREDENTIAL_PROVIDER",),
        "An object or class path that gives user name and password.",
        Status.COMING,
        "waits for credential providers in the Redis store",
    ),
    Option(
        "redis_max_connections",
        maybe(INT),
        None,
        ("CELERY_REDIS_MAX_CONNECTIONS",),
        "The most connections of one process to the result store, listeners aside; None: 3; at least 2. Where it is "
        "the broker, too, the larger of this and broker_pool_limit.",
    ),
    Option(
        "redis_socket_connect_timeout",
        maybe(SECONDS),
        None,
        ("CELERY_REDIS_SOCKET_CONNECT_TIMEOUT",),
        "Seconds to connect; None: within store_timeout.",
    ),
    Option(
        "redis_socket_timeout",
        maybe(SECONDS),
        120.0,
        ("CELERY_REDIS_SOCKET_TIMEOUT",),
        "The longest wait for an answer, in seconds; store_timeout ends an operation before.",
    ),
    Option(
        "redis_retry_on_timeout",
        BOOL,
        False,
        ("CELERY_REDIS_RETRY_ON_TIMEOUT",),
        "A command whose answer did not come is sent again.",
        status=Status.COMING,
        reason=_REPEATS,
    ),
    Option(
        "redis_socket_keepalive",
        BOOL,
        False,
        ("CELERY_REDIS_SOCKET_KEEPALIVE",),
        "The system checks idle connections.",
        reason="always so",
    ),
    Option(
        "redis_client_name",
        maybe(STR),
        None,
        ("CELERY_REDIS_CLIENT_NAME",),
        "What the server calls the connection in CLIENT LIST.",
    ),
    Option(
        "redis_db", maybe(either(INT, STR)), None, ("CELERY_REDIS_DB",), "The database number.", Status.REFUSED, _URL
    ),
    Option("redis_host", maybe(STR), None, ("CELERY_REDIS_HOST",), "The server.", Status.REFUSED, _URL),
    Option(
        "redis_password",
        maybe(STR),
        None,
        ("CELERY_REDIS_PASSWORD",),
        "The password.",
        Status.REFUSED,
        _URL,
        secret=True,
    ),
    Option("redis_port", maybe(INT), None, ("CELERY_REDIS_PORT",), "The port.", Status.REFUSED, _URL),
    Option("redis_username", maybe(STR), None, ("CELERY_REDIS_USERNAME",), "The user.", Status.REFUSED, _URL),
)

GROUPS = (
    Group("Results", _RESULTS),
    Group("Results in Redis", _REDIS),
    Group("Results in a database", _DATABASE),
    Group("Results over RabbitMQ", _RPC_RESULTS),
    Group("Results in a cache", _CACHE),
)
