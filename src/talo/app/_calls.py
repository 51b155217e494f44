"""The calls of a bulk send, read one by one.

Owns the forms that a call may have (a signature, a task, or a tuple that begins with a task or a name), and what all
calls of one task have in common, looked up once for many. Caller: ``app.bulk``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from talo.app._forms import Forms
from talo.app.current import Proxy
from talo.canvas.signature import Signature
from talo.wire.form import Form

__all__ = ["Calls", "Target"]


class Target(NamedTuple):
    """What the calls of one task have in common."""

    name: str
    #: None if this process does not know it.
    task: Any
    #: Raises what does not fit the function; None if nothing is checked.
    check: Callable[[Any, Any], None] | None
    options: Mapping[str, Any]
    #: The form of calls that add no option of their own.
    form: Form | None


class Calls:
    """Reads calls, for one bulk send with common options."""

    def __init__(self, app: Any, forms: Forms, options: Mapping[str, Any]) -> None:
        self._app = app
        self._forms = forms
        self._options = options
        self._targets: dict[Any, Target] = {}

    def read(self, call: Any) -> tuple[Target, Any, Any, Mapping[str, Any] | None]:
        """What is called, its arguments, and the options of this call alone. ``TypeError`` for what is no call."""
        own: Mapping[str, Any] | None = None
        args = kwargs = None
        if isinstance(call, Signature):
            called = call._type if call._type is not None else call["task"]
            args, kwargs, own = call["args"], call["kwargs"], call["options"]
        elif not isinstance(call, tuple | list):
            called = call
        elif len(call) == 3:
            called, args, kwargs = call
        elif 1 <= len(call) <= 4:
            called, args, kwargs, own = (*call, None, None, None)[:4]
        else:
            raise TypeError(f"send_many: a call is (task, args, kwargs, options), not {call!r}")
        target = self._targets.get(called)
        if target is None:
            target = self._targets[called] = self._target(called)
        return target, args, kwargs, own

    def forget(self) -> None:
        """Look everything up anew: settings and tasks may have changed, and names must not pile up."""
        self._targets.clear()

    def _target(self, called: Any) -> Target:
        task = self._app.tasks.get(called) if isinstance(called, str) else called
        if type(task) is Proxy:
            task = task._get_current_object()
        if task is None:
            return Target(called, None, None, self._options, self._forms.find(called, self._options))
        plan = task.plan
        options = {**self._options, **plan.full}
        return Target(task.name, task, plan.check, options, self._forms.find(task.name, options))
