"""Every signal that Talo sends, with the keywords that its receivers get beside ``signal`` and ``sender``.

Owns the objects only; they are sent by ``app.send`` (publishing), ``execution`` (tasks), ``worker``, ``beat`` and
``cli``. Names and keywords are Celery's, so a receiver written for it works unchanged. The four signals of one app
stand on the app object.
"""

from __future__ import annotations

from talo.util.signal import Signal

__all__ = [
    "after_setup_logger",
    "after_setup_task_logger",
    "after_task_publish",
    "beat_embedded_init",
    "beat_init",
    "before_task_publish",
    "celeryd_after_setup",
    "celeryd_init",
    "eventlet_pool_apply",
    "eventlet_pool_postshutdown",
    "eventlet_pool_preshutdown",
    "eventlet_pool_started",
    "heartbeat_sent",
    "import_modules",
    "periodic_task_prepared",
    "setup_logging",
    "task_failure",
    "task_internal_error",
    "task_lost",
    "task_postrun",
    "task_prepared",
    "task_prerun",
    "task_received",
    "task_rejected",
    "task_retry",
    "task_revoked",
    "task_sent",
    "task_success",
    "task_unknown",
    "user_preload_options",
    "worker_before_create_process",
    "worker_init",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
    "worker_shutting_down",
]

_LOGGING = ("logger", "loglevel", "logfile", "format", "colorize")

# Publishing. The sender is the *name* of the task; headers, body and properties may be changed in place before the
# send.
before_task_publish = Signal(
    "before_task_publish", ("body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy")
)
after_task_publish = Signal("after_task_publish", ("body", "exchange", "routing_key", "headers"))
task_sent = Signal(
    "task_sent", ("task_id", "task", "args", "kwargs", "eta", "taskset", "exchange", "routing_key", "retries")
)
# Talo's own: a message was made that others send, with the settlement of a run or when a group is complete. The sender
# is the name of the task; headers may be changed in place.
task_prepared = Signal("task_prepared", ("headers",))
# Talo's own: a beat is about to send a run of a periodic task, unless another beat does. The sender is the scheduler;
# entry has ``name`` and ``schedule``; headers may be changed in place.
periodic_task_prepared = Signal("periodic_task_prepared", ("entry", "headers"))

# Running. The sender is the task object, for ``task_received``, ``task_unknown`` and ``task_rejected`` the consumer.
task_received = Signal("task_received", ("request",))
task_prerun = Signal("task_prerun", ("task_id", "task", "args", "kwargs"))
task_postrun = Signal("task_postrun", ("task_id", "task", "args", "kwargs", "retval", "state"))
task_success = Signal("task_success", ("result", "runtime"))
task_retry = Signal("task_retry", ("request", "reason", "einfo"))
task_failure = Signal("task_failure", ("task_id", "exception", "args", "kwargs", "traceback", "einfo"))
task_internal_error = Signal(
    "task_internal_error", ("task_id", "args", "kwargs", "request", "exception", "traceback", "einfo")
)
task_revoked = Signal("task_revoked", ("request", "terminated", "signum", "expired"))
task_rejected = Signal("task_rejected", ("message", "exc"))
# Talo's own: the process of a running task died, or was killed for it. Sent by the agent, for each such attempt.
task_lost = Signal("task_lost", ("request", "exception", "began"))
task_unknown = Signal("task_unknown", ("message", "exc", "name", "id"))

# The worker.
celeryd_init = Signal("celeryd_init", ("instance", "conf", "options"))
celeryd_after_setup = Signal("celeryd_after_setup", ("instance", "conf"))
import_modules = Signal("import_modules")
worker_init = Signal("worker_init")
worker_before_create_process = Signal("worker_before_create_process")
worker_ready = Signal("worker_ready")
heartbeat_sent = Signal("heartbeat_sent")
worker_shutting_down = Signal("worker_shutting_down", ("sig", "how", "exitcode"))
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown", ("pid", "exitcode"))
worker_shutdown = Signal("worker_shutdown")

# Beat.
beat_init = Signal("beat_init")
beat_embedded_init = Signal("beat_embedded_init")

# Green threads.
eventlet_pool_started = Signal("eventlet_pool_started")
eventlet_pool_preshutdown = Signal("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = Signal("eventlet_pool_postshutdown")
eventlet_pool_apply = Signal("eventlet_pool_apply", ("target", "args", "kwargs"))

# Logging. A receiver of ``setup_logging`` switches off the worker's own set-up.
setup_logging = Signal("setup_logging", ("loglevel", "logfile", "format", "colorize"))
after_setup_logger = Signal("after_setup_logger", _LOGGING)
after_setup_task_logger = Signal("after_setup_task_logger", _LOGGING)

# The command line.
user_preload_options = Signal("user_preload_options", ("app", "options"))
