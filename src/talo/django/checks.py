"""System checks: what of a project's configuration is likely to lose, block or surprise.

Owns the ids ``talo.E…`` (a worker does not start) and ``talo.W…``; those that concern production only run with
``check --deploy``. Registered by ``apps``; Django runs them, ``talo worker`` too. ``docs/howto/django.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import Error, Warning

from talo.app.app import Talo
from talo.django import _foreign, celery_results
from talo.django.address import SCHEME, alias_of
from talo.django.conf import PREFIXES
from talo.errors import ImproperlyConfigured
from talo.settings.options import real_name
from talo.util.names import nearest

__all__ = ["register"]

#: Pools whose tasks run in many threads of one process, each with connections of its own.
_CROWDS = ("threads", "asyncio")
#: How many names a warning lists.
_NAMED = 5


def register() -> None:
    """Have Django run the checks. Idempotent."""
    checks.register(check_settings, "talo")
    checks.register(check_transactions, "talo")
    checks.register(check_production, "talo", deploy=True)
    checks.register(check_outbox, checks.Tags.database)
    checks.register(check_result_tables, checks.Tags.database)


def _app() -> Talo:
    app: Talo = apps.get_app_config("talo_django").app
    return app


def _usable() -> bool:
    """Whether the settings can be read; ``talo.E001`` tells if not."""
    try:
        _app().conf.table()
    except (ImproperlyConfigured, ImportError):
        return False
    return True


def check_settings(**_more: Any) -> list[Any]:
    """E001 settings that cannot be used; E002 aliases that do not exist; W001 settings that nobody reads."""
    try:
        _app().conf.table()
    except ImproperlyConfigured as exc:
        return [Error(str(exc), hint="Correct the settings of Talo.", id="talo.E001")]
    return [*_unknown_aliases(), *_unread()]


def _unknown_aliases() -> Iterator[Any]:
    conf = _app().conf
    named = {"django_on_commit": conf.django_on_commit if isinstance(conf.django_on_commit, list | tuple) else ()}
    for name in ("broker_url", "result_backend"):
        url = str(conf[name] or "")
        if url.startswith(f"{SCHEME}://") and (name == "broker_url" or url != conf.broker_url):
            named[name] = (alias_of(url),)
    for name, aliases in named.items():
        for alias in aliases:
            if alias not in settings.DATABASES:
                guess = nearest(alias, list(settings.DATABASES))
                meant = f"did you mean {guess!r}?" if guess else f"there are {', '.join(sorted(settings.DATABASES))}"
                yield Error(f"{name} names database {alias!r}, which DATABASES does not have: {meant}", id="talo.E002")


def _unread() -> Iterator[Any]:
    """An app of the classic layout reads one namespace only."""
    conf = _app().conf
    read = {conf.origin(name) for name in conf.changes}
    if any("DjangoSettings" in origin for origin in read):
        return
    for name in dir(settings):
        prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
        real = real_name(name, (prefix,)) if prefix else None
        if real is not None and conf.origin(real) == "default":
            yield Warning(
                f"{name} has no effect: the app of this project does not read {prefix}… names",
                hint="Write it under the namespace that the app's config_from_object() names.",
                id="talo.W001",
            )


def check_transactions(**_more: Any) -> list[Any]:
    """W002 sends that do not wait for the commit although every request is a transaction; W003 eager in production."""
    if not _usable():
        return []
    conf = _app().conf
    found: list[Any] = []
    atomic = [alias for alias, database in settings.DATABASES.items() if database.get("ATOMIC_REQUESTS")]
    bound = conf.django_on_commit
    loose = [alias for alias in atomic if not (bound is True or (bound and alias in bound))]
    if loose:
        found.append(
            Warning(
                f"Requests are transactions on {', '.join(loose)}, but delay() does not wait for their commit: "
                "a worker may look for rows that are not there yet, or never will be",
                hint="Set TALO_DJANGO_ON_COMMIT = True, or send with delay_on_commit().",
                id="talo.W002",
            )
        )
    if conf.task_always_eager and not settings.DEBUG:
        found.append(
            Warning(
                "task_always_eager is on and DEBUG is off: every task runs inside the request that sends it",
                hint="Take it away, or set it in the settings of the tests only.",
                id="talo.W003",
            )
        )
    return found


def check_production(**_more: Any) -> list[Any]:
    """W004 tasks without a time limit; W005, W006 database connections that pools of threads or psycopg keep."""
    if not _usable():
        return []
    app = _app()
    app.import_default_modules()
    return [*_limitless(app), *_connections(app)]


def _limitless(app: Talo) -> Iterator[Any]:
    names = sorted(
        task.name
        for task in app.tasks.values()
        if not task.name.startswith(("talo.", "celery.")) and not task.time_limit and not task.soft_time_limit
    )
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield Warning(
            f"No time limit holds for {', '.join(names[:_NAMED])}{more}: one that hangs keeps its slot for ever",
            hint="Set TALO_TASK_TIME_LIMIT, or time_limit= of the task.",
            id="talo.W004",
        )


def _connections(app: Talo) -> Iterator[Any]:
    crowd = app.conf.worker_pool in _CROWDS
    slots = int(app.conf.worker_concurrency or 0)
    for alias, database in settings.DATABASES.items():
        pool = (database.get("OPTIONS") or {}).get("pool")
        if crowd and not pool and database.get("CONN_MAX_AGE", 0) != 0:
            yield Warning(
                f"Database {alias!r} has CONN_MAX_AGE and the worker's pool is {app.conf.worker_pool}: each of its "
                f"{slots or 'many'} threads keeps a connection",
                hint="Set CONN_MAX_AGE to 0, or use psycopg's pool (OPTIONS['pool']).",
                id="talo.W005",
            )
        if pool and not database.get("CONN_HEALTH_CHECKS"):
            yield Warning(
                f"Database {alias!r} has a pool whose connections nobody checks: the first task after a restart of "
                "the server fails",
                hint="Set CONN_HEALTH_CHECKS to True.",
                id="talo.W006",
            )


def check_outbox(databases: Any = None, **_more: Any) -> list[Any]:
    """W007 the table of the outbox is missing. No error, for that would keep ``migrate`` from making it."""
    from talo.django import outbox

    if not databases or not _usable() or not _app().conf.outbox:
        return []
    return [
        Warning(
            f"TALO_OUTBOX is on, but database {alias!r} has no outbox",
            hint=f"Run manage.py migrate --database {alias}.",
            id="talo.W007",
        )
        for alias in outbox.aliases()
        if alias in databases and outbox.missing_table(alias)
    ]


def check_result_tables(databases: Any = None, **_more: Any) -> list[Any]:
    """W009 results are looked for in tables that are missing."""
    if not databases or not _usable() or not _app().conf.django_result_tables:
        return []
    alias = celery_results.tables_alias()
    if alias not in databases:
        return []
    missing = [
        table for table in (celery_results.RESULTS, celery_results.GROUPS) if not _foreign.has_table(alias, table)
    ]
    if not missing:
        return []
    return [
        Warning(
            f"TALO_DJANGO_RESULT_TABLES is on, but database {alias!r} has no {' and no '.join(missing)}",
            hint=f"With 'django_celery_results' in INSTALLED_APPS run manage.py migrate --database {alias}, "
            "or turn the setting off.",
            id="talo.W009",
        )
    ]
