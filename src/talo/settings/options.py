"""THE table: every setting there is.

Owns the joined table and the names by which a setting may be called. The rows stand by theme in ``_general``,
``_task``, ``_result``, ``_broker``, ``_worker``, ``_django`` and ``_foreign``; values are ``conf``'s, reading and
checking them ``load``'s. Nothing else in Talo lists settings.
"""

from __future__ import annotations

from talo.errors import ImproperlyConfigured
from talo.settings import _broker, _django, _foreign, _general, _result, _task, _worker
from talo.settings._option import Group, Option, Same, Status

__all__ = [
    "FAMILIES",
    "GROUPS",
    "OLD_NAMES",
    "OPTIONS",
    "Group",
    "Option",
    "Same",
    "Status",
    "add_option",
    "known_names",
    "real_name",
]

#: The settings in the order of the reference.
GROUPS: tuple[Group, ...] = (
    *_general.GROUPS[:1],
    *_task.GROUPS,
    *_broker.GROUPS,
    *_worker.GROUPS,
    *_result.GROUPS,
    *_general.GROUPS[1:],
    *_django.GROUPS,
    *_foreign.GROUPS,
)

#: Every setting by its name, those that plug-ins registered included.
OPTIONS: dict[str, Option] = {}
#: Every name from before Celery 4.0, to the name of today.
OLD_NAMES: dict[str, str] = {}
#: What names of settings begin with, up to the first underscore; decides whether an unknown name in a module was meant
#: as a setting.
FAMILIES: set[str] = set()


def add_option(option: Option) -> None:
    """Put a setting into the table. Raises ImproperlyConfigured when one of its names is another setting's."""
    if option.name in OPTIONS and OPTIONS[option.name] != option:
        raise ImproperlyConfigured(f"there is a setting {option.name} already")
    for old in option.old:
        if OLD_NAMES.get(old, option.name) != option.name:
            raise ImproperlyConfigured(f"{option.name} cannot be called {old}: that is {OLD_NAMES[old]}")
    OPTIONS[option.name] = option
    OLD_NAMES.update(dict.fromkeys(option.old, option.name))
    prefix, underscore, _ = option.name.partition("_")
    if underscore:
        FAMILIES.add(prefix.lower())


def real_name(name: str, namespaces: tuple[str, ...] = ("CELERY_", "TALO_")) -> str | None:
    """Return today's name for today's, an old one, or one behind a namespace (``CELERY_IMPORTS``); None if unknown."""
    if name in OPTIONS:
        return name
    if name in OLD_NAMES:
        return OLD_NAMES[name]
    for namespace in namespaces:
        if name.startswith(namespace):
            rest = name[len(namespace) :]
            for form in (rest.lower(), rest.upper()):
                if form in OPTIONS:
                    return form
    return None


def known_names(like: str = "", namespace: str = "") -> list[str]:
    """Return the names to suggest to somebody who wrote ``like``: in the same case, behind the same namespace."""
    if namespace and like.startswith(namespace):
        upper = like.isupper()
        return [namespace + (name.upper() if upper else name) for name in OPTIONS]
    if like.isupper():
        return [*OLD_NAMES, *(f"CELERY_{name.upper()}" for name in OPTIONS)]
    return list(OPTIONS)


for _group in GROUPS:
    for _row in _group.options:
        add_option(_row)
