"""``kombu``, ``billiard`` and ``vine``, as far as plug-ins of Celery import them; only where they are not installed.

Owns data only; see ``_rows`` for how to read it.
"""

from __future__ import annotations

from talo.compat.tables._rows import names

_K = "talo.compat.kombu"
_M = "talo.compat.messaging"
_C = "talo.compat.consuming"
_LIMITS = "SoftTimeLimitExceeded TimeLimitExceeded WorkerLostError Terminated"

BESIDE: dict[str, dict[str, str]] = {
    "kombu": {
        **names("talo.wire.queues", "Exchange Queue binding=Binding"),
        **names(_M, "Connection BrokerConnection=Connection Producer"),
        **names(_C, "Consumer"),
        **names("talo.compat.message", "Message"),
        **names(_K, "VERSION=KOMBU_VERSION version_info=KOMBU_VERSION __version__=kombu_version uuid"),
        **names("talo.compat.pools", "pools=ProducerPool"),
    },
    "kombu.asynchronous": {},
    "kombu.asynchronous.timer": {**names("talo.compat.strategy", "Timer"), **names(_K, "to_timestamp")},
    "kombu.common": {**names("talo.wire.queues", "Broadcast"), **names("talo.compat.state", "maybe_declare")},
    "kombu.compression": names(_K, "compress"),
    "kombu.connection": names(_M, "Connection"),
    "kombu.entity": names("talo.wire.queues", "Exchange Queue binding=Binding"),
    "kombu.exceptions": {
        **names("talo.errors", "OperationalError KombuError=TaloError EncodeError DecodeError"),
        **names("talo.errors", "SerializationError=WireError SerializerNotInstalled=ImproperlyConfigured"),
        **names("talo.errors", "ContentDisallowed=SecurityError"),
        **names("talo.compat.exceptions", "ChannelError ConnectionError HttpError LimitExceeded NotBoundError"),
        **names("talo.compat.message", "MessageStateError"),
    },
    "kombu.log": names("talo.compat.log", "get_logger"),
    "kombu.message": names("talo.compat.message", "Message MessageStateError"),
    "kombu.messaging": {**names(_C, "Consumer"), **names(_M, "Producer")},
    "kombu.mixins": names(_C, "ConsumerMixin ConsumerProducerMixin"),
    "kombu.pools": names("talo.compat.state", "producers connections"),
    "kombu.serialization": names(_K, "dumps loads register"),
    "kombu.transport": {},
    "kombu.utils": {
        **names(_K, "uuid"),
        **names("talo.compat.utils", "cached_property symbol_by_name"),
    },
    "kombu.utils.compat": names(_K, "register_after_fork"),
    "kombu.utils.encoding": names(_K, "bytes_to_str ensure_bytes safe_repr safe_str str_to_bytes"),
    "kombu.utils.functional": names("talo.compat.utils", "LRUCache maybe_list memoize is_list"),
    "kombu.utils.imports": names("talo.compat.utils", "symbol_by_name"),
    "kombu.utils.json": {
        **names(_K, "dumps=json_dumps loads=json_loads"),
        **names("talo.wire.serializers", "register_type"),
    },
    "kombu.utils.objects": names("talo.compat.utils", "cached_property"),
    "kombu.utils.url": names(_K, "maybe_sanitize_url"),
    "kombu.utils.uuid": names(_K, "uuid"),
    "billiard": names(
        _K,
        "VERSION=BILLIARD_VERSION version_info=BILLIARD_VERSION __version__=billiard_version cpu_count current_process",
    ),
    "billiard.common": {},
    "billiard.einfo": names("talo.compat.exceptions", "ExceptionInfo ExceptionWithTraceback"),
    "billiard.exceptions": {**names("talo.errors", _LIMITS), **names("talo.compat.exceptions", "WorkersJoined")},
    "billiard.pool": names(_K, "Worker=PoolWorker"),
    "billiard.process": names(_K, "current_process"),
    "vine": names(_K, "barrier promise __version__=vine_version VERSION=VINE_VERSION"),
    "vine.promises": names(_K, "promise"),
    "vine.synchronization": names(_K, "barrier"),
}
