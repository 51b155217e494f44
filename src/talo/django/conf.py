"""Talo's settings as they stand among Django's: ``TALO_…``, ``CELERY_…``, or one dictionary ``TALO``.

Owns finding them and refusing what says one thing twice; values are checked by ``talo.settings``. Made by ``project``
for an app of its own; an app of the classic layout reads its own namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from talo.errors import ImproperlyConfigured
from talo.settings.load import unknown_name
from talo.settings.options import real_name

__all__ = ["PREFIXES", "DjangoSettings", "concerns_talo"]

PREFIXES = ("TALO_", "CELERY_")
#: The name of the dictionary.
BAG = "TALO"


def concerns_talo(name: str) -> bool:
    """Whether one of Django's settings is Talo's."""
    return name == BAG or name.startswith(PREFIXES)


class DjangoSettings(Mapping[str, Any]):
    """What Django's settings say of Talo, by the names as they are written there. Read anew at each look."""

    def _found(self) -> dict[str, Any]:
        """Values by name. ``ImproperlyConfigured`` names every unknown setting, and both names of one said twice."""
        values = {name: getattr(settings, name) for name in dir(settings) if name.startswith(PREFIXES)}
        shown = {name: name for name in values}
        bag = getattr(settings, BAG, None) or {}
        if not isinstance(bag, Mapping):
            raise ImproperlyConfigured(f"{BAG} = {type(bag).__name__}: expected a dictionary of settings")
        problems = []
        for key, value in bag.items():
            name = f"TALO_{str(key).upper()}"
            if name in values:
                problems.append(f"{name} and {BAG}[{key!r}] say the same: keep one")
            values[name], shown[name] = value, f"{BAG}[{key!r}]"
        said: dict[str, str] = {}
        for name in values:
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
        return values

    def __getitem__(self, name: str) -> Any:
        return self._found()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def items(self) -> Any:
        """All of them at one look."""
        return self._found().items()
