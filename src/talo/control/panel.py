"""The commands that a worker answers, by name.

Owns the register and what is said of each command for help and command line. The commands themselves are in
``inspecting`` and ``steering``; a project adds its own with the decorators here. Read by ``worker.panel`` (which runs
them) and by the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Command", "Panel", "control_command", "inspect_command"]

Handler = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command. ``handler(node, **arguments)`` returns the answer, which JSON can write."""

    name: str
    handler: Handler
    #: ``inspect`` looks, ``control`` changes.
    type: str = "control"
    alias: str | None = None
    #: (name, type) of the arguments on the command line, in order.
    args: Sequence[tuple[str, Callable[[str], Any]]] = ()
    #: The argument that takes the rest of the command line.
    variadic: str | None = None
    #: The arguments as help shows them.
    signature: str = ""
    help: str = ""
    default_timeout: float = 1.0
    #: Help lists it.
    visible: bool = True


class Panel:
    """All commands; ``register`` adds one."""

    #: Handlers by name and alias.
    data: ClassVar[dict[str, Handler]] = {}
    #: What is said of them, by name.
    meta: ClassVar[dict[str, Command]] = {}

    @classmethod
    def register(cls, *args: Any, **options: Any) -> Any:
        """Make a function a command; a plain or called decorator. Options: the fields of ``Command``."""
        if args:
            return cls._add(args[0], options)
        return lambda function: cls._add(function, options)

    @classmethod
    def _add(cls, function: Handler, options: dict[str, Any]) -> Handler:
        name = options.pop("name", None) or function.__name__
        text = (inspect.getdoc(function) or "").partition("\n")[0]
        options = {"help": text, **{key: value for key, value in options.items() if value is not None}}
        command = Command(name=name, handler=function, **options)
        cls.meta[name] = command
        for each in (name, command.alias):
            if each:
                cls.data[each] = function
        return function

    @classmethod
    def find(cls, name: str) -> Command | None:
        """Return the command of a name or alias."""
        return cls.meta.get(name) or next((each for each in cls.meta.values() if each.alias == name), None)


def control_command(**options: Any) -> Callable[[Handler], Handler]:
    """Make a function a command that changes a worker: ``@control_command(args=[("n", int)])``."""
    return Panel.register(type="control", **options)  # type: ignore[no-any-return]


def inspect_command(**options: Any) -> Callable[[Handler], Handler]:
    """Make a function a command that looks at a worker."""
    return Panel.register(type="inspect", **options)  # type: ignore[no-any-return]
