"""Talo's settings as they stand among Django's: ``TALO_…``, ``CELERY_…``, or one dictionary ``TALO``.

Owns finding them; values are checked by ``talo.settings``. Made by ``project`` for an app of its own; an app of the
classic layout reads its own namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings

from talo.settings.prefixed import PREFIXES, gather

__all__ = ["PREFIXES", "DjangoSettings", "concerns_talo"]

#: The name of the dictionary.
BAG = "TALO"


def concerns_talo(name: str) -> bool:
    """Whether one of Django's settings is Talo's."""
    return name == BAG or name.startswith(PREFIXES)


class DjangoSettings(Mapping[str, Any]):
    """What Django's settings say of Talo, by the names as they are written there. Read anew at each look."""

    def _found(self) -> dict[str, Any]:
        """Values by name. ``ImproperlyConfigured`` names every unknown setting, and both names of one said twice."""
        found = {name: getattr(settings, name) for name in dir(settings) if concerns_talo(name)}
        return gather(found, {BAG: "TALO_"})

    def __getitem__(self, name: str) -> Any:
        return self._found()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def items(self) -> Any:
        """All of them at one look."""
        return self._found().items()
