"""Codecs that an app opts in to: yaml and pickle. Their modules are imported when the codec is first used, not before.

Owns the calls only; the registry in ``serializers`` names them, and turns whatever they raise into ``EncodeError`` and
``DecodeError``.
"""

from __future__ import annotations

from typing import Any

from talo.util.optional import load

__all__ = ["pickle_dumps", "pickle_loads", "yaml_dumps", "yaml_loads"]

#: The protocol that Celery writes; every Python that Talo or Celery supports reads it.
PICKLE_PROTOCOL = 4


def yaml_dumps(value: Any) -> bytes:
    """Return YAML text of plain data."""
    text: str = load("yaml", "PyYAML", "yaml").safe_dump(_reduced(value))
    return text.encode()


def _reduced(value: Any) -> Any:
    """Turn subclasses (a signature is a dict) into the exact types that the safe dumper knows."""
    if isinstance(value, dict):
        return {_reduced(key): _reduced(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_reduced(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return value


def yaml_loads(data: bytes) -> Any:
    """Return plain data; tags that would build objects are errors."""
    return load("yaml", "PyYAML", "yaml").safe_load(data)


def pickle_dumps(value: Any) -> bytes:
    """Return the pickled object."""
    data: bytes = load("pickle").dumps(value, protocol=PICKLE_PROTOCOL)
    return data


def pickle_loads(data: bytes) -> Any:
    """Return the unpickled object. Runs what the data says: for apps that trust all who can write to their broker."""
    return load("pickle").loads(data)
