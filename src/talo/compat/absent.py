"""What Talo does not have under Celery's names, and how that is said.

Owns the wording of refusals: the name, the reason, the mend. Called by the modules of ``compat`` that stand for
something only in part.
"""

from __future__ import annotations

from typing import NoReturn

from talo.errors import NotSupported

__all__ = ["refuse"]


def refuse(name: str, reason: str) -> NoReturn:
    """Raise ``NotSupported`` for a name of Celery's that Talo does not serve."""
    raise NotSupported(f"{name} does not work on Talo: {reason}")
