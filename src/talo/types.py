"""Types that applications write in annotations.

Owns the words only; what a marked parameter means for a call is ``execution.secrets``'s.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

__all__ = ["SECRET", "Secret"]

T = TypeVar("T")


class _Mark:
    """Says of a parameter that its values are secret."""

    def __repr__(self) -> str:
        return "SECRET"


#: The mark itself, for ``Annotated[str, SECRET]``.
SECRET: Final = _Mark()

#: ``def login(user: str, password: Secret[str])``: the function gets the plain text, everybody else sees ``<secret>``.
Secret = Annotated[T, SECRET]
