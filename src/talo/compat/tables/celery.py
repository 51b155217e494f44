"""``celery`` and all below it but ``celery.utils``.

Owns data only; see ``_rows`` for how to read it.
"""

from __future__ import annotations

from talo.compat.tables._rows import names

_APP = names("talo.compat.app", "Celery bugreport")
_CURRENT = names("talo.app.current", "current_app current_task")
_SHARED = names("talo.app.shared", "shared_task app_or_default")
_PRIMITIVES = names("talo.canvas.primitives", "chain chord chunks group xmap xstarmap")
_SIGNATURES = names("talo.canvas.signature", "Signature maybe_signature signature subtask")
_SIGNALS = (
    "after_setup_logger after_setup_task_logger after_task_publish beat_embedded_init beat_init before_task_publish "
    "celeryd_after_setup celeryd_init eventlet_pool_apply eventlet_pool_postshutdown eventlet_pool_preshutdown "
    "eventlet_pool_started heartbeat_sent import_modules setup_logging task_failure task_internal_error task_postrun "
    "task_prerun task_received task_rejected task_retry task_revoked task_sent task_success task_unknown "
    "user_preload_options worker_before_create_process worker_init worker_process_init worker_process_shutdown "
    "worker_ready worker_shutdown worker_shutting_down"
)
_STATES = (
    "ALL_STATES EXCEPTION_STATES FAILURE IGNORED PENDING PROPAGATE_STATES READY_STATES RECEIVED REJECTED RETRY REVOKED "
    "STARTED SUCCESS UNREADY_STATES precedence state"
)
_ERRORS = (
    "AlreadyRegistered BackendError BackendGetMetaError BackendStoreError CeleryError=TaloError "
    "CeleryWarning=TaloWarning ChordError Ignore ImproperlyConfigured IncompleteStream InvalidTaskError "
    "MaxRetriesExceededError NotRegistered OperationalError QueueNotFound Reject Retry SecurityError "
    "SoftTimeLimitExceeded TaskError TaskPredicate TaskRevokedError Terminated TimeLimitExceeded TimeoutError "
    "WorkerLostError WorkerShutdown WorkerTerminate"
)
_WARNINGS = (
    "AlwaysEagerIgnored CDeprecationWarning CPendingDeprecationWarning CeleryCommandException "
    "DuplicateNodenameWarning DuplicateTaskNameWarning FixupWarning NotConfigured SecurityWarning reraise"
)
_RESULTS = {
    **names("talo.app.result", "AsyncResult allow_join_result assert_will_not_block denied_join_result"),
    **names("talo.app.groups", "GroupResult ResultSet result_from_tuple"),
    **names("talo.app.eager", "EagerResult"),
}
_BEAT = (
    "DEFAULT_MAX_INTERVAL BeatLazyFunc EmbeddedService PersistentScheduler ScheduleEntry Scheduler SchedulingError "
    "Service"
)
_CLICK = "talo.compat.commands"

CELERY: dict[str, dict[str, str]] = {
    "celery": {
        **_APP,
        **_CURRENT,
        **_PRIMITIVES,
        **_SIGNATURES,
        **names("talo.app.shared", "shared_task"),
        **names("talo.app.task", "Task"),
        **names("talo.wire", "uuid=new_id"),
        **names(
            "talo.compat.version",
            "VERSION version_info __version__ __author__ __contact__ __homepage__ __docformat__ VERSION_BANNER "
            "version_info_t maybe_patch_concurrency SERIES",
        ),
    },
    # -- the app
    "celery.app": {
        **_APP,
        **names("talo.app.current", "current_app"),
        **_SHARED,
        **names("talo.compat.state", "default_app push_current_task pop_current_task disable_trace enable_trace"),
    },
    "celery.app.amqp": {**names("talo.compat.amqp", "AMQP"), **names("talo.app.routes", "Queues")},
    "celery.app.annotations": names("talo.app._annotations", "annotate"),
    "celery.app.backends": names("talo.compat.version", "by_name by_url"),
    "celery.app.base": {
        **names("talo.compat.app", "Celery"),
        **names("talo.settings", "PendingConfiguration=Settings"),
    },
    "celery.app.builtins": {},
    "celery.app.control": {
        **names("talo.app.control", "Control"),
        **names("talo.app.inspecting", "Inspect"),
    },
    "celery.app.events": names("talo.app.events", "Events"),
    "celery.app.defaults": {
        **names("talo.compat.log", "DEFAULT_PROCESS_LOG_FMT DEFAULT_TASK_LOG_FMT"),
        **names("talo.compat.version", "DEFAULTS NAMESPACES find"),
    },
    "celery.app.log": names("talo.compat.log", "Logging TaskFormatter ColorFormatter"),
    "celery.app.registry": names("talo.app.registry", "TaskRegistry"),
    "celery.app.routes": names("talo.app.routes", "Router MapRoute=_MapRoute prepare=_routers"),
    "celery.app.task": {**names("talo.app.task", "Task"), **names("talo.execution.request", "Context")},
    "celery.app.trace": names("talo.compat.trace", "build_tracer task_has_custom trace_task trace_ok_t logger info"),
    "celery.app.utils": {**names("talo.settings", "Settings"), **names("talo.compat.app", "bugreport")},
    "celery.apps": {},
    "celery.apps.beat": names("talo.compat.programs", "Beat"),
    "celery.apps.multi": names("talo.cli.multi", "Node Cluster MultiParser=Cluster"),
    "celery.apps.worker": names("talo.compat.programs", "Worker"),
    "celery._state": {
        **_CURRENT,
        **names("talo.app.shared", "app_or_default"),
        **names(
            "talo.app.current", "get_current_app get_current_task set_default_app _set_current_app=set_current_app"
        ),
        **names("talo.compat.state", "_task_stack default_app connect_on_app_finalize _get_active_apps"),
        **names("talo.compat.state", "get_current_worker_task _tls"),
    },
    "celery.local": names("talo.app.current", "Proxy PromiseProxy=Proxy"),
    "celery.loaders": names("talo.compat.version", "get_loader_cls"),
    "celery.loaders.app": names("talo.compat.loaders", "AppLoader"),
    "celery.loaders.base": names("talo.compat.loaders", "BaseLoader=AppLoader"),
    "celery.loaders.default": names("talo.compat.loaders", "Loader=AppLoader"),
    # -- what tasks are made of and come to
    "celery.canvas": {
        **_PRIMITIVES,
        **_SIGNATURES,
        **names("talo.canvas.stamping", "StampingVisitor"),
        **names("talo.canvas.primitives", "_chain=chain _chord=chord"),
    },
    "celery.result": _RESULTS,
    "celery.states": names("talo.states", _STATES),
    "celery.signals": names("talo.signals", _SIGNALS),
    "celery.exceptions": {**names("talo.errors", _ERRORS), **names("talo.compat.exceptions", _WARNINGS)},
    "celery.registry": names("talo.compat.state", "tasks"),
    "celery.execute": names("talo.compat.state", "send_task"),
    "celery.log": names("talo.compat.state", "get_default_logger setup_logging_subsystem"),
    "celery.messaging": names("talo.compat.state", "establish_connection get_publisher=publisher"),
    # -- results
    "celery.backends": {},
    "celery.backends.base": {
        **names("talo.compat.backends", "Backend BaseBackend=Backend BaseDictBackend KeyValueStoreBackend"),
        **names(
            "talo.compat.backends", "BaseKeyValueStoreBackend=KeyValueStoreBackend DisabledBackend get_current_task"
        ),
    },
    # -- events and remote control
    "celery.events": names("talo.events", "Event EventDispatcher EventReceiver"),
    "celery.events.dispatcher": names("talo.events", "EventDispatcher"),
    "celery.events.event": names("talo.events", "Event"),
    "celery.events.receiver": names("talo.events", "EventReceiver"),
    "celery.events.snapshot": names("talo.events.snapshot", "Polaroid"),
    "celery.events.state": names("talo.events", "State Task Worker"),
    "celery.worker.control": {
        **names("talo.control.panel", "Panel control_command inspect_command"),
    },
    # -- periodic tasks
    "celery.beat": {
        **names("talo.beat", _BEAT),
        **names("talo.beat.scheduler", "event_t"),
        **names("talo.schedules", "crontab schedule maybe_schedule"),
    },
    "celery.schedules": names(
        "talo.schedules",
        "BaseSchedule ParseException crontab crontab_parser maybe_schedule schedstate schedule solar",
    ),
    # -- workers
    "celery.bootsteps": names("talo.compat.bootsteps", "Blueprint ConsumerStep StartStopStep Step RUN CLOSE TERMINATE"),
    "celery.concurrency": names("talo.compat.version", "get_implementation get_available_pool_names"),
    "celery.concurrency.base": names("talo.compat.strategy", "BasePool"),
    "celery.concurrency.prefork": names("talo.compat.worker", "TaskPool process_initializer process_destructor"),
    "celery.concurrency.solo": names("talo.compat.worker", "TaskPool"),
    "celery.concurrency.thread": names("talo.compat.worker", "TaskPool"),
    "celery.platforms": {
        **names("talo.compat.utils", "close_open_fds isatty"),
        **names(
            "talo.compat.version",
            "IS_macOS IS_WINDOWS SYSTEM signal_name EX_OK EX_FAILURE EX_UNAVAILABLE EX_USAGE EX_CANTCREAT signals "
            "set_process_title",
        ),
    },
    "celery.worker": names("talo.compat.worker", "WorkController"),
    "celery.worker.autoscale": names("talo.compat.worker", "Autoscaler"),
    "celery.worker.components": {
        **names("talo.compat.worker", "Pool"),
        **names("talo.compat.strategy", "Timer"),
        **names("talo.compat.worker", "Hub=Pool Beat=Pool StateDB=Pool Consumer=Pool"),
    },
    "celery.worker.consumer": {
        **names("talo.compat.strategy", "Consumer"),
        **names("talo.compat.worker", "Agent Connection=Pool Mingle=Pool Events=Pool Gossip=Pool Heart=Pool"),
        **names("talo.compat.worker", "Control=Pool Tasks=Pool Evloop=Pool DelayedDelivery=Pool"),
    },
    "celery.worker.request": names("talo.compat.request", "Request create_request_cls"),
    "celery.worker.state": names(
        "talo.compat.state", "revoked total_count active_requests reserved_requests SOFTWARE_INFO"
    ),
    "celery.worker.strategy": names("talo.compat.strategy", "hybrid_to_proto2 proto1_to_proto2"),
    # -- programs
    "celery.bin": {},
    "celery.bin.base": names(
        _CLICK,
        "CLIContext CeleryCommand CeleryDaemonCommand CeleryOption COMMA_SEPARATED_LIST CommaSeparatedList "
        "ISO8601_DATETIME ISO8601_DATETIME_OR_FLOAT JSON_ARRAY JSON_OBJECT LOG_LEVEL LogLevel handle_preload_options",
    ),
    "celery.bin.celery": names(_CLICK, "celery main"),
    "celery.bin.beat": names("talo.cli.beat", "beat"),
    "celery.bin.worker": names("talo.cli.worker", "worker"),
    "celery.__main__": names(_CLICK, "main"),
    # -- extras
    "celery.contrib": {},
    "celery.contrib.abortable": names("talo.app.abortable", "ABORTED AbortableAsyncResult AbortableTask"),
    "celery.contrib.django": {},
    "celery.contrib.django.task": names("talo.django.task", "DjangoTask"),
    "celery.contrib.pytest": names(
        "talo.compat.testing.fixtures",
        "celery_app celery_class_tasks celery_config celery_enable_logging celery_includes celery_parameters "
        "celery_session_app celery_session_worker celery_worker celery_worker_parameters celery_worker_pool "
        "depends_on_current_app pytest_configure use_celery_app_trap",
    ),
    "celery.contrib.rdb": names("talo.compat.rdb", "DEFAULT_PORT Rdb debugger set_trace"),
    "celery.contrib.testing": {},
    "celery.contrib.testing.app": names(
        "talo.compat.testing.app", "DEFAULT_TEST_CONFIG TestApp Trap UnitLogging set_trap setup_default_app"
    ),
    "celery.contrib.testing.tasks": names("talo.compat.testing.tasks", "ping"),
    "celery.contrib.testing.worker": names(
        "talo.compat.testing.worker", "TestWorkController WORKER_LOGLEVEL start_worker"
    ),
    "celery.fixups": {},
    "celery.fixups.django": names("talo.compat.fixups", "DjangoFixup fixup"),
    "celery.security": names("talo.compat.state", "setup_security"),
}
