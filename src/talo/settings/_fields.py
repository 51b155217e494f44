"""The types of all settings, for type checkers and editors.

Rendered from the table by ``python -m talo.settings.render``; change the table, not this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Fields"]


class Fields:
    """One annotation for each setting of the table."""

    accept_content: Sequence[str]
    result_accept_content: Sequence[str] | None
    enable_utc: bool
    timezone: Any
    task_annotations: Any
    task_compression: str | None
    task_protocol: int
    task_serializer: str
    task_publish_retry: bool
    task_publish_retry_policy: dict[str, Any]
    task_repr_maxlevels: int | None
    publish_timeout: float
    task_soft_size_limit: int | None
    task_always_eager: bool
    task_eager_propagates: bool
    task_store_eager_result: bool
    task_remote_tracebacks: bool
    task_ignore_result: bool
    task_store_errors_even_if_ignored: bool
    task_track_started: bool
    task_time_limit: float | None
    task_soft_time_limit: float | None
    task_allow_error_cb_on_chord_header: bool
    task_canvas_form: str
    task_acks_late: bool
    task_acks_on_failure_or_timeout: bool
    task_acks_on_failure: bool | None
    task_acks_on_timeout: bool | None
    task_reject_on_worker_lost: bool | None
    task_retry_on_worker_lost: bool
    task_default_rate_limit: int | str | None
    task_max_deliveries: int | None
    task_unknown_patience: float
    task_dead_letters: bool
    dead_letter_expires: float | None
    dead_letter_queue_expires: dict[str, float | None]
    task_queues: Any
    task_routes: Any
    task_cutover: Sequence[str]
    task_queue_max_priority: int | None
    task_default_priority: int | None
    task_inherit_parent_priority: bool
    worker_direct: bool
    task_create_missing_queues: bool
    task_create_missing_queue_type: str
    task_create_missing_queue_exchange_type: str | None
    task_default_queue: str
    task_default_queue_type: str
    task_default_exchange: str
    task_default_exchange_type: str
    task_default_routing_key: str
    task_default_delivery_mode: int
    broker_url: str
    broker_read_url: str
    broker_write_url: str
    broker_failover_strategy: Any
    broker_heartbeat: float | None
    broker_heartbeat_checkrate: float
    broker_use_ssl: bool | dict[str, Any] | None
    broker_pool_limit: int | None
    broker_pool_acquire_timeout: float | None
    broker_connection_timeout: float | None
    broker_connection_retry: bool
    broker_connection_retry_on_startup: bool | None
    broker_connection_max_retries: int | None
    broker_channel_error_retry: bool
    broker_login_method: str | None
    broker_native_delayed_delivery_queue_type: str
    broker_delays_in_result_backend: bool
    broker_ledger: bool
    broker_transport_options: dict[str, Any]
    redis_priority_order: str
    store_timeout: float
    db_auto_migrate: bool
    broker_host: str | None
    broker_port: int | None
    broker_user: str | None
    broker_password: str | None
    broker_vhost: str | None
    broker_transport: str | None
    imports: Sequence[str]
    include: Sequence[str]
    worker_pool: str
    worker_concurrency: int | None
    worker_prefetch_multiplier: int | None
    worker_disable_prefetch: bool
    worker_eta_task_limit: int | None
    worker_enable_prefetch_count_reduction: bool
    worker_deduplicate_successful_tasks: bool
    worker_lost_wait: float
    worker_max_tasks_per_child: int | None
    worker_max_memory_per_child: int | None
    worker_disable_rate_limits: bool
    worker_state_db: str | None
    worker_timer_precision: float
    worker_proc_alive_timeout: float
    worker_cancel_long_running_tasks_on_connection_loss: bool
    worker_detect_quorum_queues: bool
    worker_soft_shutdown_timeout: float
    worker_enable_soft_shutdown_on_idle: bool
    worker_pool_restarts: bool
    worker_pool_putlocks: bool
    worker_pool_start_method: str
    worker_autoscaler: Any
    worker_consumer: Any
    worker_timer: Any
    worker_agent: Any
    worker_lease: float
    worker_grace: float | None
    worker_batch_time: float
    worker_watchdog: float | None
    worker_http: str | None
    metrics_max_tasks: int
    beat_schedule: dict[str, Any]
    beat_scheduler: Any
    beat_schedule_filename: str
    beat_sync_every: int
    beat_max_loop_interval: float
    beat_cron_starting_deadline: float | None
    beat_enable_remote_control: bool
    beat_remote_control_max_tick_age: float | None
    CELERY_DB_REUSE_MAX: int | None
    result_backend: str | None
    result_backend_always_retry: bool
    result_backend_max_sleep_between_retries_ms: int
    result_backend_base_sleep_between_retries_ms: int
    result_backend_max_retries: float
    result_backend_thread_safe: bool
    result_backend_transport_options: dict[str, Any]
    result_serializer: str
    result_compression: str | None
    result_extended: bool
    result_expires: float | None
    result_failure_expires: float | None
    result_chord_expires: float | None
    result_cache_max: int | None
    result_chord_join_timeout: float
    result_chord_retry_interval: float
    override_backends: dict[str, Any]
    redis_backend_health_check_interval: float | None
    redis_backend_use_ssl: bool | dict[str, Any] | None
    redis_backend_credential_provider: Any
    redis_max_connections: int | None
    redis_socket_connect_timeout: float | None
    redis_socket_timeout: float | None
    redis_retry_on_timeout: bool
    redis_socket_keepalive: bool
    redis_client_name: str | None
    redis_db: int | str | None
    redis_host: str | None
    redis_password: str | None
    redis_port: int | None
    redis_username: str | None
    database_create_tables_at_setup: bool
    database_engine_options: dict[str, Any]
    database_short_lived_sessions: bool
    database_table_schemas: dict[str, Any] | None
    database_table_names: dict[str, Any] | None
    database_engine_callback: Any
    database_url: str | None
    result_persistent: bool | None
    result_exchange: str
    result_exchange_type: str
    cache_backend: str | None
    cache_backend_options: dict[str, Any]
    worker_hijack_root_logger: bool
    worker_log_color: bool | None
    worker_log_format: str
    worker_task_log_format: str
    worker_redirect_stdouts: bool
    worker_redirect_stdouts_level: str
    worker_log_datefmt: str | None
    worker_task_log_datefmt: str | None
    worker_logfile: str | None
    worker_pidfile: str | None
    worker_uid: str | int | None
    worker_gid: str | int | None
    worker_umask: str | int | None
    worker_executable: str | None
    beat_logfile: str | None
    beat_pidfile: str | None
    beat_uid: str | int | None
    beat_gid: str | int | None
    beat_umask: str | int | None
    beat_executable: str | None
    events_logfile: str | None
    events_pidfile: str | None
    events_uid: str | int | None
    events_gid: str | int | None
    events_umask: str | int | None
    events_executable: str | None
    worker_send_task_events: bool
    task_send_sent_event: bool
    event_queue_ttl: float | None
    event_queue_expires: float | None
    event_queue_durable: bool
    event_queue_exclusive: bool
    event_queue_prefix: str
    event_exchange: str
    event_serializer: str
    worker_enable_remote_control: bool
    control_queue_ttl: float
    control_queue_expires: float
    control_exchange: str
    control_queue_durable: bool
    control_queue_exclusive: bool
    history: str
    history_success_rate: float
    history_expires: float
    history_failure_expires: float
    history_max_runs: int | None
    tracing: bool
    secret_keys: Sequence[str]
    security_key: str | None
    security_key_password: str | None
    security_certificate: str | None
    security_cert_store: str | None
    security_digest: str
    django_on_commit: bool | Sequence[str]
    outbox: bool
    outbox_lease: float
    django_result_tables: bool
    mongodb_backend_settings: Any
    cassandra_servers: Any
    cassandra_secure_bundle_path: Any
    cassandra_bundle_path: Any
    cassandra_port: Any
    cassandra_keyspace: Any
    cassandra_table: Any
    cassandra_read_consistency: Any
    cassandra_write_consistency: Any
    cassandra_entry_ttl: Any
    cassandra_auth_provider: Any
    cassandra_auth_kwargs: Any
    cassandra_options: Any
    s3_access_key_id: Any
    s3_secret_access_key: Any
    s3_bucket: Any
    s3_base_path: Any
    s3_endpoint_url: Any
    s3_region: Any
    azureblockblob_container_name: Any
    azureblockblob_base_path: Any
    azureblockblob_retry_initial_backoff_sec: Any
    azureblockblob_retry_increment_base: Any
    azureblockblob_retry_max_attempts: Any
    azureblockblob_connection_timeout: Any
    azureblockblob_read_timeout: Any
    gcs_bucket: Any
    gcs_project: Any
    gcs_base_path: Any
    gcs_ttl: Any
    gcs_threadpool_maxsize: Any
    firestore_project: Any
    elasticsearch_retry_on_timeout: Any
    elasticsearch_max_retries: Any
    elasticsearch_timeout: Any
    elasticsearch_save_meta_as_text: Any
    couchbase_backend_settings: Any
    arangodb_backend_settings: Any
    cosmosdbsql_database_name: Any
    cosmosdbsql_collection_name: Any
    cosmosdbsql_consistency_level: Any
    cosmosdbsql_max_retry_attempts: Any
    cosmosdbsql_max_retry_wait_time: Any
    dynamodb_endpoint_url: Any
