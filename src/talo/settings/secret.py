"""Secrets in settings: what is shown in their place.

Owns the forms in which a URL, an option bag or a value may be shown to people. It protects no storage: the settings
hold plain values, because clients need them; whoever prints one goes through here. Called by ``settings`` and by the
stores for their log lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["MASK", "SafeURL", "hide", "hide_password", "sounds_secret"]

#: What stands where a secret was.
MASK = "**"

#: user:password@ of a URL. The password runs to the last "@" before the path, for unquoted "@" are met in the wild;
#: a user is optional (redis://:password@host).
_USERINFO = re.compile(
    r"(?P<before>[a-zA-Z][a-zA-Z0-9+.\-]*://[^\s/:@;]*:)(?P<password>[^\s/;]*|[^\s;]*?)@(?=[^\s@]*(?:$|[\s;]))"
)
_QUERY = re.compile(r"(?P<before>[?&][^=&\s;]*(?:passw|secret|token|credential)[^=&\s;]*=)[^&\s;]*", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"passw|passphrase|passwd|(^|_)pass($|_)|secret|token|credential|api_?key|access_?key|private_?key|signature"
    # Of a periodic task: which of them are secret is not known here.
    r"|^(kw)?args$",
    re.IGNORECASE,
)


def hide_password(url: str) -> str:
    """Return the URL (or a text with URLs, or several joined by ``;``) with every password replaced by ``**``."""
    return _QUERY.sub(rf"\g<before>{MASK}", _USERINFO.sub(rf"\g<before>{MASK}@", url))


class SafeURL(str):
    """A URL whose ``repr`` and ``str`` show no password; ``reveal()`` gives the plain text for the client library."""

    __slots__ = ()

    def reveal(self) -> str:
        """Return the URL as it was given, password included."""
        return "".join(self)

    def __str__(self) -> str:
        return hide_password(self.reveal())

    def __repr__(self) -> str:
        return repr(str(self))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


def sounds_secret(name: str) -> bool:
    """Return whether the value of a setting or key of this name should not be shown."""
    return _SECRET_NAME.search(name) is not None


def hide(value: Any, name: str = "", secret: bool = False) -> Any:
    """Return what may be shown of a value: nothing of a secret, and of anything else all but the passwords inside."""
    if value is None or isinstance(value, bool):
        return value
    if secret or sounds_secret(name):
        return MASK if value not in ("", b"") else value
    if isinstance(value, str):
        return hide_password(value)
    if isinstance(value, Mapping):
        return {key: hide(item, str(key)) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(hide(item) for item in value)
    return value
