"""Which calls are alike, and the form that their messages are filled into.

Owns the forms of one app by name and options of the calls, and when they have to be made anew. What a message is made
of is ``send``'s, the form itself ``wire.form``'s. Caller: ``app.send``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from talo.app._call import ALIKE, repr_levels
from talo.wire import origin
from talo.wire.form import Form
from talo.wire.message import Message

__all__ = ["Forms"]

#: Names and options come from callers and must not grow without bound.
_MOST = 1000


class Forms:
    """The forms of one app; ``model`` makes the message of a call without arguments, or None where calls of this name
    and these options may differ in more than their arguments."""

    def __init__(self, app: Any, model: Callable[[str, Mapping[str, Any]], Message | None]) -> None:
        self._app = app
        self._model = model
        self._known: dict[tuple[str, frozenset[Any]], Form | None] = {}
        self._version = -1
        self._origin = ""

    def find(self, name: str, options: Mapping[str, Any]) -> Form | None:
        """The form of calls of this name with these options; None where there can be none."""
        if not ALIKE.issuperset(options):
            return None
        # A form is made of the settings and of the name of this process, which is another one after a fork.
        version, here = self._app.conf.version, origin()
        if version != self._version or here is not self._origin or len(self._known) >= _MOST:
            self._known, self._version, self._origin = {}, version, here
        known = self._known
        try:
            key = name, frozenset(options.items())
            return known[key]
        except KeyError:
            model = self._model(name, options)
            form = known[key] = Form(model, repr_levels(self._app.conf)) if model is not None else None
            return form
        except TypeError:
            return None  # an option without a hash
