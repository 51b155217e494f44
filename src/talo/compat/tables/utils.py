"""``celery.utils`` and all below it.

Owns data only; see ``_rows`` for how to read it.
"""

from __future__ import annotations

from talo.compat.tables._rows import names

_U = "talo.compat.utils"
_T = "talo.compat.times"

UTILS: dict[str, dict[str, str]] = {
    "celery.utils": {
        **names("talo.wire", "uuid=new_id gen_unique_id=new_id"),
        **names("talo.app.routes", "worker_direct"),
        **names(
            _U,
            "anon_nodename cached_property chunks first gen_task_name get_full_cls_name import_from_cwd instantiate "
            "is_list maybe_list memoize nodename nodesplit noop pass1 symbol_by_name uniq default_nodename node_format "
            "host_format",
        ),
    },
    "celery.utils.abstract": names("talo.compat.state", "CallableTask CallableSignature"),
    "celery.utils.collections": {
        **names(_U, "AttributeDict LRUCache force_mapping"),
        **names("talo.settings", "ConfigurationView=Settings"),
    },
    "celery.utils.dispatch": names("talo.util.signal", "Signal"),
    "celery.utils.dispatch.signal": names("talo.util.signal", "Signal"),
    "celery.utils.functional": names(
        _U,
        "LRUCache chunks dictfilter first firstmethod is_list mattrgetter maybe maybe_list memoize noop padlist "
        "pass1 uniq",
    ),
    "celery.utils.imports": names(
        _U, "find_module gen_task_name import_from_cwd instantiate qualname symbol_by_name cwd_in_path"
    ),
    "celery.utils.log": names(
        "talo.compat.log",
        "ColorFormatter LoggingProxy base_logger get_logger get_task_logger mlevel task_logger worker_logger",
    ),
    "celery.utils.nodenames": {
        **names(_U, "anon_nodename default_nodename gethostname host_format node_format nodename nodesplit"),
        **names("talo.app.routes", "worker_direct"),
    },
    "celery.utils.objects": names(_U, "cached_property"),
    "celery.utils.saferepr": names("talo.wire.repr", "saferepr"),
    "celery.utils.serialization": names(_U, "b64decode b64encode pickle strtobool"),
    "celery.utils.text": names(_U, "indent pluralize str_to_list truncate"),
    "celery.utils.time": names(
        _T,
        "LocalTimezone adjust_timestamp delta_resolution ffwd get_exponential_backoff_interval humanize_seconds "
        "is_naive localize make_aware maybe_iso8601 maybe_make_aware maybe_s_to_ms maybe_timedelta rate remaining "
        "timezone to_utc utcoffset weekday",
    ),
    "celery.utils.uuid": names("talo.wire", "uuid=new_id"),
}
