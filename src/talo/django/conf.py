"""Talo's settings as they stand among Django's: ``TALO_…``, ``CELERY_…``, or one dictionary ``TALO``.

Owns finding them; values are checked by ``talo.settings``. Made by ``project`` for an app of its own; an app of the
classic layout reads its own namespace.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from talo.settings.prefixed import PREFIXES, PrefixedSettings

__all__ = ["PREFIXES", "DjangoSettings", "concerns_talo"]

#: The name of the dictionary.
BAG = "TALO"


def concerns_talo(name: str) -> bool:
    """Whether one of Django's settings is Talo's."""
    return name == BAG or name.startswith(PREFIXES)


class DjangoSettings(PrefixedSettings):
    """What Django's settings say of Talo."""

    def __init__(self) -> None:
        super().__init__(_concerning_talo, {BAG: "TALO_"})


def _concerning_talo() -> dict[str, Any]:
    return {name: getattr(settings, name) for name in dir(settings) if concerns_talo(name)}
