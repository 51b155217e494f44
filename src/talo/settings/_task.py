"""Rows of the table: task messages, running tasks, dead letters, routing."""

from __future__ import annotations

from talo.settings._kinds import (
    BOOL,
    DELIVERY_MODE,
    DICT,
    INT,
    QUEUES,
    RULES,
    SECONDS,
    SECONDS_BY_NAME,
    STR,
    STRS,
    choice,
    either,
    maybe,
)
from talo.settings._option import Group, Option, Same, Status

__all__ = ["GROUPS"]

_RETRY_POLICY = {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2}
_RABBITMQ = "is not kept on RabbitMQ yet"
_QUEUE_TYPES = choice("classic", "quorum")
_EXCHANGE_TYPES = maybe(STR)

_MESSAGES = (
    Option(
        "task_annotations",
        maybe(RULES),
        None,
        ("CELERY_ANNOTATIONS",),
        "Attributes to set on tasks, by task name (or '*'), or objects with annotate().",
    ),
    Option(
        "task_compression",
        maybe(STR),
        None,
        ("CELERY_MESSAGE_COMPRESSION",),
        "How task messages are compressed: gzip, zlib, bzip2, lzma, brotli, zstd.",
    ),
    Option(
        "task_protocol",
        choice(1, 2),
        2,
        ("CELERY_TASK_PROTOCOL",),
        "The version of Celery's message form in which tasks are sent.",
    ),
    Option(
        "task_serializer",
        STR,
        "json",
        ("CELERY_TASK_SERIALIZER",),
        "The form of task arguments on the wire: json, yaml, msgpack, pickle or one you registered.",
    ),
    Option(
        "task_publish_retry",
        BOOL,
        True,
        ("CELERY_TASK_PUBLISH_RETRY",),
        "A send that meets a lost connection is tried again, within publish_timeout.",
    ),
    Option(
        "task_publish_retry_policy",
        DICT,
        _RETRY_POLICY,
        ("CELERY_TASK_PUBLISH_RETRY_POLICY",),
        "How often and at what intervals a send is tried again.",
    ),
    Option(
        "task_repr_maxlevels",
        maybe(INT),
        3,
        ("CELERY_REPR_MAXLEVELS",),
        "How deep the shortened arguments in headers and logs go.",
    ),
    Option(
        "publish_timeout",
        SECONDS,
        5.0,
        (),
        "Seconds after which a send raises PublishTimeout, name lookup and waiting for a connection included.",
        own=True,
    ),
    Option(
        "task_soft_size_limit",
        maybe(INT),
        1024 * 1024,
        (),
        "Bytes of a message above which the sender is warned; None: never.",
        own=True,
    ),
)

_EXECUTION = (
    Option(
        "task_always_eager",
        BOOL,
        False,
        ("CELERY_ALWAYS_EAGER",),
        "Calls run in the caller's process and wait for the result.",
    ),
    Option(
        "task_eager_propagates",
        BOOL,
        False,
        ("CELERY_EAGER_PROPAGATES_EXCEPTIONS", "CELERY_EAGER_PROPAGATES"),
        "An eager call raises what its task raised.",
    ),
    Option(
        "task_store_eager_result", BOOL, False, ("CELERY_STORE_EAGER_RESULT",), "Results of eager calls are stored too."
    ),
    Option(
        "task_remote_tracebacks",
        BOOL,
        False,
        ("CELERY_REMOTE_TRACEBACKS",),
        "A result that raises shows the worker's traceback as its cause.",
        reason="always so: what a result raises carries the traceback of the worker as a note",
    ),
    Option(
        "task_ignore_result", BOOL, False, ("CELERY_IGNORE_RESULT",), "No results are stored unless a task asks for it."
    ),
    Option(
        "task_store_errors_even_if_ignored",
        BOOL,
        False,
        ("CELERY_STORE_ERRORS_EVEN_IF_IGNORED",),
        "Failures are stored although results are ignored.",
    ),
    Option(
        "task_track_started",
        BOOL,
        False,
        ("CELERY_TRACK_STARTED", "CELERY_TASK_TRACK_STARTED"),
        "The state STARTED is stored when a task begins.",
    ),
    Option(
        "task_time_limit",
        maybe(SECONDS),
        None,
        ("CELERYD_TASK_TIME_LIMIT",),
        "Seconds after which a task is stopped by force.",
    ),
    Option(
        "task_soft_time_limit",
        maybe(SECONDS),
        None,
        ("CELERYD_TASK_SOFT_TIME_LIMIT",),
        "Seconds after which SoftTimeLimitExceeded is raised inside a task.",
    ),
    Option(
        "task_allow_error_cb_on_chord_header",
        BOOL,
        False,
        ("CELERY_ALLOW_ERROR_CB_ON_CHORD_HEADER",),
        "An error callback put on a chord goes to the tasks of its header too.",
    ),
    Option(
        "task_canvas_form",
        choice("talo", "celery"),
        "talo",
        (),
        "The form of chains and chords: talo, or celery where Celery's workers share the queues (Redis only).",
        celery_default="celery",
    ),
    Option(
        "task_acks_late",
        BOOL,
        True,
        ("CELERY_ACKS_LATE",),
        "A message ends when its task has ended (at least once); False: before it begins (at most once).",
        celery_default=False,
    ),
    Option(
        "task_acks_on_failure_or_timeout",
        BOOL,
        True,
        ("CELERY_ACKS_ON_FAILURE_OR_TIMEOUT",),
        "With late acknowledgement: a task that failed or timed out is done; False: its message becomes a dead letter, "
        "even where task_dead_letters is off.",
    ),
    Option(
        "task_acks_on_failure",
        maybe(BOOL),
        None,
        ("CELERY_ACKS_ON_FAILURE",),
        "The same for failures alone; None: what task_acks_on_failure_or_timeout says.",
    ),
    Option(
        "task_acks_on_timeout",
        maybe(BOOL),
        None,
        ("CELERY_ACKS_ON_TIMEOUT",),
        "The same for time limits alone; None: what task_acks_on_failure_or_timeout says.",
    ),
    Option(
        "task_reject_on_worker_lost",
        maybe(BOOL),
        True,
        ("CELERY_REJECT_ON_WORKER_LOST",),
        "A task with late acknowledgement whose process died runs again, up to task_max_deliveries; False: it failed.",
        celery_default=None,
    ),
    Option(
        "task_retry_on_worker_lost",
        BOOL,
        False,
        ("CELERY_RETRY_ON_WORKER_LOST",),
        "A task whose process died is retried by its own retry policy.",
    ),
    Option(
        "task_default_rate_limit",
        maybe(either(INT, STR)),
        None,
        ("CELERY_DEFAULT_RATE_LIMIT",),
        "The rate limit of tasks without one of their own: '10/s', '100/m', '5/h'.",
    ),
    Option(
        "task_max_deliveries",
        maybe(INT),
        3,
        (),
        "How often a task may take its process down before it becomes a dead letter; None: no limit.",
        own=True,
    ),
    Option(
        "task_unknown_patience",
        SECONDS,
        300.0,
        (),
        "How long a message of a task that no worker here knows waits for one that does, before it is a dead letter.",
        own=True,
    ),
    Option(
        "task_dead_letters",
        BOOL,
        True,
        (),
        "Tasks that failed for good are kept as dead letters, with the reason, and can be replayed.",
        own=True,
    ),
    Option(
        "dead_letter_expires",
        maybe(SECONDS),
        30 * 86_400.0,
        (),
        "Seconds that a dead letter is kept; None: for ever.",
        own=True,
    ),
    Option(
        "dead_letter_queue_expires",
        SECONDS_BY_NAME,
        {},
        (),
        "The same for the dead letters of some queues, by the name of the queue.",
        own=True,
    ),
)

_ROUTING = (
    Option(
        "task_queues",
        maybe(QUEUES),
        None,
        ("CELERY_QUEUES",),
        "The queues that workers read; None: task_default_queue.",
    ),
    Option(
        "task_routes",
        maybe(RULES),
        None,
        ("CELERY_ROUTES",),
        "Which task goes where: by name, glob or pattern, or a function.",
    ),
    Option(
        "task_cutover",
        STRS,
        (),
        (),
        "While a fleet moves from Celery: names and globs of the tasks that have moved. Their calls go to talo.QUEUE "
        "in place of QUEUE, and workers of Talo read the talo.* queues only; the others stay with Celery's workers.",
        own=True,
    ),
    Option(
        "task_queue_max_priority",
        maybe(INT),
        None,
        ("CELERY_QUEUE_MAX_PRIORITY",),
        "The highest priority of queues that are created (x-max-priority).",
    ),
    Option(
        "task_default_priority",
        maybe(INT),
        None,
        ("CELERY_DEFAULT_PRIORITY",),
        "The priority of tasks without one of their own, 0 to 9.",
    ),
    Option(
        "task_inherit_parent_priority",
        BOOL,
        False,
        ("CELERY_INHERIT_PARENT_PRIORITY",),
        "A task sent by a task has its sender's priority.",
    ),
    Option(
        "worker_direct",
        BOOL,
        False,
        ("CELERY_WORKER_DIRECT",),
        "Every worker also reads a queue of its own (NODE.dq2 by exchange C.dq2).",
        status=Status.COMING,
        reason="waits for queues of single workers; meanwhile give a worker one with -Q",
    ),
    Option(
        "task_create_missing_queues",
        BOOL,
        True,
        ("CELERY_CREATE_MISSING_QUEUES",),
        "A queue that is not in task_queues may be named; False: it is an error.",
    ),
    Option(
        "task_create_missing_queue_type",
        _QUEUE_TYPES,
        "quorum",
        ("CELERY_CREATE_MISSING_QUEUE_TYPE",),
        "The type of RabbitMQ queues that are created on the way.",
        Status.COMING,
        _RABBITMQ,
        celery_default="classic",
    ),
    Option(
        "task_create_missing_queue_exchange_type",
        _EXCHANGE_TYPES,
        None,
        ("CELERY_CREATE_MISSING_QUEUE_EXCHANGE_TYPE",),
        "The exchange type of queues that are created on the way.",
        status=Status.COMING,
        reason=_RABBITMQ,
    ),
    Option(
        "task_default_queue",
        STR,
        "celery",
        ("CELERY_DEFAULT_QUEUE",),
        "The queue of tasks that no rule sends elsewhere.",
    ),
    Option(
        "task_default_queue_type",
        _QUEUE_TYPES,
        "quorum",
        ("CELERY_DEFAULT_QUEUE_TYPE",),
        "The type of queues that Talo makes on RabbitMQ; one that exists is used as it is.",
        celery_default="classic",
    ),
    Option(
        "task_default_exchange",
        STR,
        Same("task_default_queue"),
        ("CELERY_DEFAULT_EXCHANGE",),
        "The exchange of queues that name none.",
    ),
    Option(
        "task_default_exchange_type", STR, "direct", ("CELERY_DEFAULT_EXCHANGE_TYPE",), "The type of that exchange."
    ),
    Option(
        "task_default_routing_key",
        STR,
        Same("task_default_queue"),
        ("CELERY_DEFAULT_ROUTING_KEY",),
        "The routing key of queues that name none.",
    ),
    Option(
        "task_default_delivery_mode",
        DELIVERY_MODE,
        2,
        ("CELERY_DEFAULT_DELIVERY_MODE",),
        "With 2 messages are written to disk where the broker can, with 1 they are not.",
    ),
)

GROUPS = (Group("Task messages", _MESSAGES), Group("Running tasks", _EXECUTION), Group("Routing", _ROUTING))
