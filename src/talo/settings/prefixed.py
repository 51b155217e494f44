"""Talo's settings among a framework's own: ``TALO_…``, ``CELERY_…``, and dictionaries of settings.

Owns telling them apart and refusing what says one thing twice; values are checked by ``load``. Used by ``talo.django``
and ``talo.flask``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from talo.errors import ImproperlyConfigured
from talo.settings.load import unknown_name
from talo.settings.options import real_name

__all__ = ["PREFIXES", "PrefixedSettings"]

PREFIXES = ("TALO_", "CELERY_")


class PrefixedSettings(Mapping[str, Any]):
    """Talo's settings by the names as they are written there. Read anew at each look."""

    def __init__(self, read: Callable[[], Mapping[str, Any]], bags: Mapping[str, str]) -> None:
        """``read`` returns all that the framework knows; ``bags`` maps the name of a dictionary of settings to the
        prefix that its keys go without."""
        self._read = read
        self._bags = bags

    def _found(self) -> dict[str, Any]:
        return _gather(self._read(), self._bags)

    def __getitem__(self, name: str) -> Any:
        return self._found()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def items(self) -> Any:
        """All of them at one look."""
        return self._found().items()


def _gather(values: Mapping[str, Any], bags: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of Talo among ``values``, by their upper-case names with the prefix.

    ``ImproperlyConfigured`` names every unknown setting, and both names of one that is said twice.
    """
    found = {name: value for name, value in values.items() if name.startswith(PREFIXES)}
    shown = {name: name for name in found}
    problems = []
    for bag, prefix in bags.items():
        content = values.get(bag) or {}
        if not isinstance(content, Mapping):
            raise ImproperlyConfigured(f"{bag} = {type(content).__name__}: expected a dictionary of settings")
        for key, value in content.items():
            name = f"{prefix}{str(key).upper()}"
            if name in found:
                problems.append(f"{shown[name]} and {bag}[{key!r}] say the same: keep one")
            found[name], shown[name] = value, f"{bag}[{key!r}]"
    said: dict[str, str] = {}
    for name in found:
        prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
        real = real_name(name, (prefix,))
        if real is None:
            problems.append(unknown_name(name, prefix))
        elif real in said:
            problems.append(f"{shown[said[real]]} and {shown[name]} say the same: keep one")
        else:
            said[real] = name
    if problems:
        raise ImproperlyConfigured("; ".join(sorted(problems)))
    return found
