"""Reading settings from where they stand, and checking them as a whole.

Owns the sources (object, module, dotted path, dictionary, namespace, environment, command line) and ``check``, which
tells every problem of a source in one error. What wins over what is ``conf``'s. Called by ``conf.Settings``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from talo.errors import ImproperlyConfigured
from talo.settings._option import Option, Status
from talo.settings.options import FAMILIES, OLD_NAMES, OPTIONS, known_names, real_name
from talo.settings.secret import hide
from talo.util.names import distance, import_path, nearest
from talo.util.text import count, shorten

__all__ = [
    "Checked",
    "Source",
    "check",
    "convert",
    "near_miss",
    "read_command_line",
    "read_environment",
    "read_object",
    "unknown_name",
]

#: The environment variables that Celery knows; Talo knows TALO_<SETTING> for every setting beside.
_CELERY_VARIABLES = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")
_PREFIX = "TALO_"
#: What upper-case names that are meant as settings begin with.
_OLD_FAMILIES = ("CELERY_", "CELERYD_", "CELERYBEAT_", "CELERYEV_", "BROKER_")
#: More slips than that in a name of somebody's module, and it was not meant as a setting.
_SLIPS = 2


class Source(NamedTuple):
    """What one place says: values by the name as it is written there."""

    values: dict[str, Any]
    origin: str
    namespace: str = ""


class Checked(NamedTuple):
    """Values that can be used, by today's names, and how each name was written."""

    values: dict[str, Any]
    written: dict[str, str]


def read_object(source: Any, namespace: str | None = None) -> Source:
    """Return what a dictionary, module, class, object or the dotted path of one says.

    With a namespace, names behind it count (and old names, as in Celery); without, every name that is a setting or was
    meant as one. Raises ImportError for a path that leads nowhere, ImproperlyConfigured when new and old names are
    mixed, or one setting stands behind Celery's namespace and Talo's.
    """
    origin = f"object {source if isinstance(source, str) else _describe(source)}"
    target = import_path(source) if isinstance(source, str) else source
    prefix = _with_underscore(namespace)
    if isinstance(target, Mapping):
        values = {str(name): value for name, value in target.items() if not prefix or _belongs(str(name), prefix)}
    else:
        values = _attributes(target, prefix)
    if not prefix:
        _refuse_mixed_names(values, origin)
    else:
        _refuse_two_prefixes(values, target, prefix, origin)
    return Source(values, origin, prefix)


def _describe(source: Any) -> str:
    if inspect.ismodule(source):
        return source.__name__
    if isinstance(source, Mapping):
        return "dict"
    kind = source if inspect.isclass(source) else type(source)
    return f"{kind.__module__}.{kind.__qualname__}"


def _with_underscore(namespace: str | None) -> str:
    if not namespace:
        return ""
    return namespace if namespace.endswith("_") else f"{namespace}_"


def _belongs(name: str, prefix: str) -> bool:
    return name.startswith(prefix) or name in OLD_NAMES or (name.isupper() and name in OPTIONS)


def _attributes(target: Any, prefix: str) -> dict[str, Any]:
    values = {}
    for name in dir(target):
        if name.startswith("_"):
            continue
        known = _belongs(name, prefix) if prefix else real_name(name) is not None
        if not known and (prefix or not _was_meant(name)):
            continue
        value = getattr(target, name)
        # Modules and classes are full of imports and helpers, which nobody meant as settings.
        if known or not (inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value)):
            values[name] = value
    return values


def _was_meant(name: str) -> bool:
    """Return whether an unknown name was meant as a setting: it begins like one, or is a slip or two away."""
    if name.isupper():
        if name.startswith(_OLD_FAMILIES):
            return True
    elif name.partition("_")[0] in FAMILIES and "_" in name:
        return True
    return near_miss(name) is not None


def near_miss(name: str) -> str | None:
    """Return the setting that is at most two slips away from an unknown name, None if there is none."""
    # A whole Django settings module comes through here, so lengths sort out first.
    candidates = [known for known in known_names(name) if abs(len(known) - len(name)) <= _SLIPS]
    guess = nearest(name, candidates)
    return guess if guess is not None and distance(name, guess, _SLIPS + 1) <= _SLIPS else None


def _refuse_mixed_names(values: Iterable[str], origin: str) -> None:
    names = [name for name in values if real_name(name) is not None]
    new = sorted(name for name in names if not name.isupper())
    old = sorted(name for name in names if name.isupper() and name not in OPTIONS)
    if not new or not old:
        return
    lines = "".join(f"\n  {name} -> {real_name(name)}" for name in old)
    more = f" and {count(len(new) - 3, 'other')}" if len(new) > 3 else ""
    raise ImproperlyConfigured(
        f"{origin} mixes new and old names of settings: beside {', '.join(new[:3])}{more} write the new names of{lines}"
    )


def _refuse_two_prefixes(values: Iterable[str], target: Any, prefix: str, origin: str) -> None:
    """Settings said behind Celery's namespace and behind Talo's at once: nobody could tell which one counts."""
    other = {"CELERY_": _PREFIX, _PREFIX: "CELERY_"}.get(prefix)
    if other is None:
        return
    names = set(target) if isinstance(target, Mapping) else set(dir(target))
    twice = sorted(name for name in values if other + name.removeprefix(prefix) in names)
    if twice:
        pairs = ", ".join(f"{name} and {other}{name.removeprefix(prefix)}" for name in twice)
        raise ImproperlyConfigured(f"{origin} says the same under two prefixes: {pairs}; keep one of each")


def read_environment(environ: Mapping[str, str], *, strict: bool = True) -> Source:
    """Return what the variables say: Celery's four, and ``TALO_<SETTING>`` for every setting, which wins.

    Empty ones say nothing.
    """
    values = {name: environ[name] for name in _CELERY_VARIABLES if environ.get(name)}
    for name, value in environ.items():
        if not name.startswith(_PREFIX) or not value:
            continue
        if real_name(name) is not None or (strict and _was_meant(name.removeprefix(_PREFIX).lower())):
            values[name] = value
    return Source(values, "environment variable", _PREFIX)


def read_command_line(arguments: Sequence[str]) -> Source:
    """Return what ``name=value`` arguments say (``worker.concurrency=4`` too).

    Raises ImproperlyConfigured for one without ``=``.
    """
    values = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise ImproperlyConfigured(f"{argument!r} on the command line is no setting: write name=value")
        values[name.strip().strip(".").replace(".", "_")] = value.strip()
    return Source(values, "command line")


def check(values: Mapping[str, Any], *, strict: bool = True, namespace: str = "") -> Checked:
    """Return the values converted, under today's names; where a setting stands twice, its newer spelling counts.

    Raises ONE ImproperlyConfigured with a line for every problem: wrong types, refused settings and, when strict,
    unknown names. Otherwise unknown names are kept, in lower case and without the namespace if they stood behind it.
    """
    problems: list[str] = []
    checked = Checked({}, {})
    for written in sorted(values, key=lambda name: _age(name, namespace), reverse=True):
        value = values[written]
        name = _name_of(written, namespace)
        option = OPTIONS.get(name)
        if option is None and strict:
            problems.append(unknown_name(written, namespace))
            continue
        if option is not None:
            try:
                value = convert(option, value, written)
            except ImproperlyConfigured as error:
                problems.append(str(error))
                continue
        checked.values[name] = value
        checked.written[name] = written
    if problems:
        problems.sort()
        head = f"{count(len(problems), 'setting')} cannot be used:\n  " if len(problems) > 1 else ""
        raise ImproperlyConfigured(head + "\n  ".join(problems))
    return checked


def _age(written: str, namespace: str) -> int:
    if written in OPTIONS:
        return 0
    if namespace and written.startswith(namespace) and real_name(written, (namespace,)):
        return 1
    return 3 if written in OLD_NAMES else 2


def _name_of(written: str, namespace: str) -> str:
    if namespace:
        name = real_name(written, (namespace,))
        if name is None and written.startswith(namespace):
            return written.removeprefix(namespace).lower()
        if name is not None:
            return name
    return real_name(written) or written


def unknown_name(written: str, namespace: str = "") -> str:
    """Return the line about a name that is no setting, with the name that was probably meant."""
    guess = nearest(written, known_names(written, namespace))
    return f"{written} is not a setting" + (f"; did you mean {guess}?" if guess else "")


def convert(option: Option, value: Any, written: str = "") -> Any:
    """Return the value as the setting keeps it.

    Raises ImproperlyConfigured for one of a wrong type and for a refused setting.
    """
    name = written or option.name
    try:
        converted = option.type.convert(value)
    except (TypeError, ValueError) as error:
        shown = shorten(repr(hide(value, option.name, option.secret)), 80)
        why = f" ({error})" if isinstance(error, TypeError) and "queue" in str(error) else ""
        raise ImproperlyConfigured(f"{name} = {shown}: expected {option.type.label}{why}") from None
    if option.status is Status.REFUSED and not option.is_default(converted):
        raise ImproperlyConfigured(f"{name} is refused: {option.reason}")
    return converted
