"""A sealed value: what stands in messages, stores and logs in place of a secret argument.

Owns its form as text, by which it is known again after any serializer, and what people see of it. Sealing and opening
is ``keyring``'s; which arguments are sealed is ``execution.secrets``'s. On the wire it is plain text, so that messages
with sealed values pass through Celery's workers and through every serializer unharmed.
"""

from __future__ import annotations

from typing import Any, TypeGuard

__all__ = ["MASK", "PREFIX", "Sealed", "is_sealed", "masked", "unmasked"]

#: What is shown in place of a secret.
MASK = "<secret>"
#: How the text of every sealed value begins.
PREFIX = "talo:sealed:"


class Sealed(str):
    """A sealed value. Its ``repr`` hides even the sealed text, which tells nobody anything."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK

    def __reduce__(self) -> tuple[Any, ...]:
        # Whoever reads a pickle may know nothing of Talo.
        return str, (str.__str__(self),)


def is_sealed(value: Any) -> TypeGuard[str]:
    """Return whether a value is a sealed one, or the text of one."""
    return isinstance(value, str) and value.startswith(PREFIX)


def masked(value: Any) -> Any:
    """Return arguments as they may be shown: with the mask in place of whatever is sealed in them."""
    if is_sealed(value):
        return MASK
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def unmasked(value: Any, old: Any) -> Any:
    """Return arguments that somebody edited as they were shown: where the mask was left standing, what stood there
    in ``old`` stays."""
    if value == MASK and is_sealed(old):
        return old
    if isinstance(value, dict) and isinstance(old, dict):
        return {key: unmasked(item, old.get(key)) for key, item in value.items()}
    if isinstance(value, list | tuple) and isinstance(old, list | tuple):
        return [unmasked(item, old[at] if at < len(old) else None) for at, item in enumerate(value)]
    return value
