"""Rows of the table: content, time, logging, events, remote control, security."""

from __future__ import annotations

from talo.settings._kinds import BOOL, FLOAT, INT, SECONDS, STR, STRS, ZONE, choice, either, maybe
from talo.settings._option import Group, Option, Status

__all__ = ["GROUPS"]

_LOG_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
_TASK_LOG_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"
_LEVELS = choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_EVENTS_COME = "an event waits for five seconds on RabbitMQ, and nowhere else"
_CONTROL_COMES = "a control message waits for five minutes on RabbitMQ, and nowhere else"
_SERVICE = "run it under systemd, a supervisor or a container, which do it better: Talo does not daemonize"
_OWN_QUEUES = "Talo's stores keep events and control messages in their own channels; there is no queue to describe"

_GENERAL = (
    Option(
        "accept_content",
        STRS,
        ("json",),
        ("CELERY_ACCEPT_CONTENT",),
        "Content types or serializer names that are read; everything else is refused.",
    ),
    Option(
        "result_accept_content",
        maybe(STRS),
        None,
        ("CELERY_RESULT_ACCEPT_CONTENT", "RESULT_ACCEPT_CONTENT"),
        "The same for results; None: what accept_content says.",
    ),
    Option("enable_utc", BOOL, True, ("CELERY_ENABLE_UTC", "ENABLE_UTC"), "Times in messages are UTC."),
    Option(
        "timezone",
        maybe(ZONE),
        None,
        ("CELERY_TIMEZONE",),
        "The time zone of schedules and of naive times, as an IANA name; None: UTC.",
    ),
)

_HISTORY = (
    Option(
        "history",
        choice("sampled", "all", "failures", "off"),
        "sampled",
        (),
        "Which runs are kept to be searched. sampled: all that did not succeed, and of the successes up to "
        "history_success_rate; all; failures: no successes; off: nothing is kept or counted. The others count all.",
        own=True,
    ),
    Option(
        "history_success_rate",
        FLOAT,
        20.0,
        (),
        "Successes that each process keeps in a second, at most; the others are counted only.",
        own=True,
    ),
    Option("history_expires", SECONDS, 2 * 86_400.0, (), "Seconds that a success is kept in the history.", own=True),
    Option(
        "history_failure_expires",
        SECONDS,
        14 * 86_400.0,
        (),
        "The same for everything else: failures, retries, revoked and lost runs.",
        own=True,
    ),
    Option(
        "history_max_runs",
        maybe(INT),
        None,
        (),
        "Runs that are kept at most, the latest; None: 1,000,000 in a database, 250,000 on Redis (about 130 MB).",
        own=True,
    ),
)

_TRACING = (
    Option(
        "tracing",
        BOOL,
        False,
        (),
        "OpenTelemetry spans for sends and runs, linked through the message; provider and exporters are yours.",
        own=True,
    ),
)

_LOGGING = (
    Option(
        "worker_hijack_root_logger",
        BOOL,
        False,
        ("CELERYD_HIJACK_ROOT_LOGGER",),
        "Under Celery's name: what libraries log goes where a worker logs, unless the application has set logging up.",
        celery_default=True,
    ),
    Option(
        "worker_log_color",
        maybe(BOOL),
        None,
        ("CELERYD_LOG_COLOR",),
        "Coloured log lines; None: when the output is a terminal.",
    ),
    Option(
        "worker_log_format",
        STR,
        _LOG_FORMAT,
        ("CELERYD_LOG_FORMAT",),
        "The form of a worker's log lines; json: each line is a JSON object with the fields of its record.",
    ),
    Option(
        "worker_task_log_format",
        STR,
        _TASK_LOG_FORMAT,
        ("CELERYD_TASK_LOG_FORMAT",),
        "Under Celery's name: the form of log lines that a task writes with get_task_logger.",
    ),
    Option(
        "worker_redirect_stdouts",
        BOOL,
        False,
        ("CELERY_REDIRECT_STDOUTS",),
        "Under Celery's name: what tasks print becomes log lines of the logger celery.redirected.",
        celery_default=True,
    ),
    Option(
        "worker_redirect_stdouts_level",
        _LEVELS,
        "WARNING",
        ("CELERY_REDIRECT_STDOUTS_LEVEL",),
        "The level of those lines.",
    ),
    Option(
        "worker_log_datefmt", maybe(STR), None, ("CELERYD_LOG_DATEFMT",), "The form of dates in a worker's log lines."
    ),
    Option(
        "worker_task_log_datefmt",
        maybe(STR),
        None,
        ("CELERYD_TASK_LOG_DATEFMT",),
        "Under Celery's name: the form of dates in those lines.",
    ),
)


def _daemon(process: str, old: str) -> tuple[Option, ...]:
    noun = {"worker": "a worker", "beat": "beat"}[process]
    return (
        Option(
            f"{process}_logfile",
            maybe(STR),
            None,
            (f"{old}_LOG_FILE",),
            f"Where {noun} writes its log, as its option --logfile; None: standard error.",
        ),
        Option(
            f"{process}_pidfile",
            maybe(STR),
            None,
            (f"{old}_PID_FILE",),
            f"Where {noun} writes its process id, as its option --pidfile.",
        ),
        Option(
            f"{process}_uid",
            maybe(either(STR, INT)),
            None,
            (f"{old}_UID",),
            f"The user that {noun} becomes when it detaches.",
            Status.REFUSED,
            f"User= of systemd sets it; {_SERVICE}",
        ),
        Option(
            f"{process}_gid",
            maybe(either(STR, INT)),
            None,
            (f"{old}_GID",),
            f"The group that {noun} becomes when it detaches.",
            Status.REFUSED,
            f"Group= of systemd sets it; {_SERVICE}",
        ),
        Option(
            f"{process}_umask",
            maybe(either(STR, INT)),
            None,
            (f"{old}_UMASK",),
            f"The file mask of {noun}, as its option --umask (text is octal).",
        ),
        Option(
            f"{process}_executable",
            maybe(STR),
            None,
            (f"{old}_EXECUTABLE",),
            f"The Python that {noun} runs under when it detaches.",
            Status.REFUSED,
            f"start it with that Python; {_SERVICE}",
        ),
    )


def _monitor() -> tuple[Option, ...]:
    """The same of the event monitor, which stays in the foreground."""
    kinds = {"logfile": STR, "pidfile": STR, "uid": either(STR, INT), "gid": either(STR, INT)}
    kinds |= {"umask": either(STR, INT), "executable": STR}
    old = {"logfile": "LOG_FILE", "pidfile": "PID_FILE"}
    return tuple(
        Option(
            f"events_{name}",
            maybe(kind),
            None,
            (f"CELERYEV_{old.get(name, name.upper())}",),
            f"As worker_{name}, of the event monitor.",
            reason=f"talo events stays in the foreground and writes to its output; {_SERVICE}",
        )
        for name, kind in kinds.items()
    )


_DAEMON = (*_daemon("worker", "CELERYD"), *_daemon("beat", "CELERYBEAT"), *_monitor())

_EVENTS = (
    Option(
        "worker_send_task_events",
        BOOL,
        False,
        ("CELERY_SEND_EVENTS", "CELERY_SEND_TASK_EVENTS"),
        "A worker tells what happens to its tasks (as -E does).",
    ),
    Option(
        "task_send_sent_event",
        BOOL,
        False,
        ("CELERY_SEND_TASK_SENT_EVENT",),
        "The sender of a task tells so by an event.",
    ),
    Option(
        "event_queue_ttl",
        maybe(SECONDS),
        5.0,
        ("CELERY_EVENT_QUEUE_TTL",),
        "How long an event waits for a monitor that does not read, in seconds.",
        status=Status.COMING,
        reason=_EVENTS_COME,
    ),
    Option(
        "event_queue_expires",
        maybe(SECONDS),
        60.0,
        ("CELERY_EVENT_QUEUE_EXPIRES",),
        "After how many idle seconds a monitor's queue goes.",
    ),
    Option(
        "event_queue_durable",
        BOOL,
        False,
        ("CELERY_EVENT_QUEUE_DURABLE",),
        "Event queues outlive the server.",
        Status.REFUSED,
        _OWN_QUEUES,
    ),
    Option(
        "event_queue_exclusive",
        BOOL,
        True,
        ("CELERY_EVENT_QUEUE_EXCLUSIVE",),
        "Only its monitor sees an event queue.",
        reason=_OWN_QUEUES,
    ),
    Option(
        "event_queue_prefix",
        STR,
        "celeryev",
        ("CELERY_EVENT_QUEUE_PREFIX",),
        "With what the name of an event queue begins.",
    ),
    Option(
        "event_exchange",
        STR,
        "celeryev",
        ("CELERY_EVENT_EXCHANGE",),
        "The exchange (on Redis the channel) of the events.",
    ),
    Option(
        "event_serializer",
        STR,
        "json",
        ("CELERY_EVENT_SERIALIZER",),
        "The form of events on the wire.",
    ),
)

_CONTROL = (
    Option(
        "worker_enable_remote_control",
        BOOL,
        True,
        ("CELERY_ENABLE_REMOTE_CONTROL",),
        "Workers listen to control commands.",
    ),
    Option(
        "control_queue_ttl",
        SECONDS,
        300.0,
        ("CELERY_CONTROL_QUEUE_TTL", "CONTROL_QUEUE_TTL"),
        "How long a control message is good, in seconds.",
        status=Status.COMING,
        reason=_CONTROL_COMES,
    ),
    Option(
        "control_queue_expires",
        SECONDS,
        10.0,
        ("CELERY_CONTROL_QUEUE_EXPIRES", "CONTROL_QUEUE_EXPIRES"),
        "After how many idle seconds a control queue goes.",
    ),
    Option(
        "control_exchange",
        STR,
        "celery",
        ("CELERY_CONTROL_EXCHANGE", "CONTROL_EXCHANGE"),
        "The exchange (on Redis the channel) of control messages.",
    ),
    Option(
        "control_queue_durable",
        BOOL,
        False,
        ("CELERY_CONTROL_QUEUE_DURABLE", "CONTROL_QUEUE_DURABLE"),
        "Control queues outlive the server.",
        Status.REFUSED,
        _OWN_QUEUES,
    ),
    Option(
        "control_queue_exclusive",
        BOOL,
        True,
        ("CELERY_CONTROL_QUEUE_EXCLUSIVE", "CONTROL_QUEUE_EXCLUSIVE"),
        "Only its worker sees a control queue.",
        reason=_OWN_QUEUES,
    ),
)

_SECURITY = (
    Option(
        "secret_keys",
        STRS,
        (),
        (),
        "Random texts of 16 characters or more, shared by senders and workers, with which secret arguments are sealed: "
        "the first one seals, all of them open. In a Django project its SECRET_KEY and SECRET_KEY_FALLBACKS, unless "
        "set.",
        secret=True,
        own=True,
    ),
    Option(
        "security_key",
        maybe(STR),
        None,
        ("CELERY_SECURITY_KEY",),
        "The file of the private key that signs messages.",
    ),
    Option(
        "security_key_password",
        maybe(STR),
        None,
        ("CELERY_SECURITY_KEY_PASSWORD",),
        "The password of that key.",
        secret=True,
    ),
    Option(
        "security_certificate",
        maybe(STR),
        None,
        ("CELERY_SECURITY_CERTIFICATE",),
        "The file of the certificate that goes with the key.",
    ),
    Option(
        "security_cert_store",
        maybe(STR),
        None,
        ("CELERY_SECURITY_CERT_STORE",),
        "The folder (or glob) of the certificates that are trusted.",
    ),
    Option(
        "security_digest",
        STR,
        "sha256",
        ("CELERY_SECURITY_DIGEST",),
        "The digest of signatures.",
    ),
)

GROUPS = (
    Group("Content and time", _GENERAL),
    Group("Logging", _LOGGING),
    Group("Daemons", _DAEMON),
    Group("Events", _EVENTS),
    Group("Remote control", _CONTROL),
    Group("History", _HISTORY),
    Group("Tracing", _TRACING),
    Group("Security", _SECURITY),
)
