"""Exceptions as data: how a failure is stored, and what a reader raises for it.

Owns the form (``exc_type``, ``exc_message``, ``exc_module``) and the rule that data imports nothing: a class is used
only if this process has loaded it already, and it is found without a look-up that could run code. Otherwise a stand-in
with its name is raised. Called by ``results`` and ``execution`` (writing) and by ``app.result`` (reading).
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, TypedDict

from talo import errors
from talo.errors import EncodeError, TaskError
from talo.wire import serializers
from talo.wire.repr import saferepr
from talo.wire.serializers import JSON, Codec

__all__ = ["ExceptionData", "RemoteError", "exception_from_data", "exception_to_data"]


class ExceptionData(TypedDict):
    """A stored exception, as Celery's readers know it."""

    exc_type: str
    exc_message: list[Any]
    exc_module: str


class RemoteError(TaskError):
    """Stands in for an exception whose class this process has not loaded; its class bears that one's name."""

    #: Qualified name and module of the original class.
    exc_type = ""
    exc_module = ""

    @property
    def message(self) -> str:
        """The text of the original's arguments."""
        return str(self)


#: Errors of ours that Celery's users know from another module. They are stored under that, so that either side finds
#: its own class. Read from anywhere in these packages, because Celery hands out the classes of the others as well.
_CELERY = (
    *(errors.AlreadyRegistered, errors.BackendError, errors.BackendGetMetaError, errors.BackendStoreError),
    *(errors.ChordError, errors.Ignore, errors.ImproperlyConfigured, errors.IncompleteStream, errors.InvalidTaskError),
    *(errors.MaxRetriesExceededError, errors.NotRegistered, errors.QueueNotFound, errors.Reject, errors.Retry),
    *(errors.SecurityError, errors.TaskError, errors.TaskPredicate, errors.TaskRevokedError, errors.TimeoutError),
)
_BILLIARD = (errors.SoftTimeLimitExceeded, errors.Terminated, errors.TimeLimitExceeded, errors.WorkerLostError)
_KOMBU = (errors.DecodeError, errors.EncodeError, errors.OperationalError)
_FOREIGN: dict[type, str] = {
    **dict.fromkeys(_CELERY, "celery.exceptions"),
    **dict.fromkeys(_BILLIARD, "billiard.exceptions"),
    **dict.fromkeys(_KOMBU, "kombu.exceptions"),
}
_OURS: dict[str, Any] = {cls.__name__: cls for cls in _FOREIGN}


# --- writing ----------------------------------------------------------------------------------------------------------


def exception_to_data(exc: BaseException, codec: Codec | str = JSON) -> ExceptionData:
    """Return the exception's class and arguments; an argument that ``codec`` cannot carry becomes its ``repr``."""
    cls = type(exc)
    codec = serializers.get(codec)
    return {
        "exc_type": cls.__qualname__,
        "exc_message": [_carried(arg, codec) for arg in exc.args],
        "exc_module": _FOREIGN.get(cls) or str(cls.__module__),
    }


def _carried(value: Any, codec: Codec) -> Any:
    try:
        codec.dumps(value)
    except EncodeError:
        return saferepr(value)
    return value


# --- reading ----------------------------------------------------------------------------------------------------------


def exception_from_data(data: Any) -> BaseException:
    """Return the exception that ``data`` describes: of its own class if that is loaded here, else a ``RemoteError``.

    Never raises and never imports, whatever ``data`` holds. Classes that end a process (``SystemExit`` and the like)
    get a stand-in too: raising them must be this process's own decision. An exception object is returned as it is.
    """
    if isinstance(data, BaseException):
        return data
    if not isinstance(data, dict):
        return _stand_in("UnknownError", "", (saferepr(data, 200),))
    name, module, message = data.get("exc_type"), data.get("exc_module"), data.get("exc_message")
    if not isinstance(name, str) or not name:
        name = "UnknownError"
    if not isinstance(module, str):
        module = ""
    args = tuple(message) if isinstance(message, list | tuple) else () if message is None else (message,)
    cls = _loaded_class(name, module)
    return _stand_in(name, module, args) if cls is None else _instance(cls, args)


def _loaded_class(name: str, module: str) -> type[Exception] | None:
    if module.partition(".")[0] in ("celery", "billiard", "kombu") and name in _OURS:
        found: Any = _OURS[name]
    else:
        found = builtins if module == "exceptions" else sys.modules.get(module)
        if not issubclass(type(found), ModuleType):
            return None
        for part in name.split("."):
            found = _own(found).get(part)
    # type() and issubclass() against a builtin run no code of the class; isinstance() could.
    if issubclass(type(found), type) and issubclass(found, Exception) and not issubclass(found, SystemExit):
        cls: type[Exception] = found
        return cls
    return None


def _own(holder: Any) -> Mapping[str, Any]:
    """Return the namespace of a module or class, past any ``__getattr__``, property or lazy loading of its own."""
    space: Mapping[str, Any] = {}
    if issubclass(type(holder), ModuleType):
        space = ModuleType.__getattribute__(holder, "__dict__")
    elif issubclass(type(holder), type):
        space = type.__getattribute__(holder, "__dict__")
    return space


def _instance(cls: type[Exception], args: tuple[Any, ...]) -> Exception:
    """Build the exception as its class does; one whose constructor wants something else is built without it."""
    try:
        exc = cls(*args)
    except Exception:  # noqa: BLE001  a stranger's constructor
        try:
            exc = cls.__new__(cls, *args)
        except Exception:  # noqa: BLE001
            return _stand_in(cls.__qualname__, cls.__module__, args)
    if not issubclass(type(exc), cls):
        return _stand_in(cls.__qualname__, cls.__module__, args)
    # A constructor that words its message from its arguments would word it twice.
    exc.args = args
    return exc


def _stand_in(name: str, module: str, args: tuple[Any, ...]) -> RemoteError:
    return _stand_in_class(_tidy(name), _tidy(module) or "unknown")(*args)


def _tidy(name: str) -> str:
    """Names become part of a class, which takes no zeros and no half characters, and of logs, which want no novels."""
    return name[:200].replace("\0", "").encode("utf-8", "replace").decode()


@lru_cache(maxsize=512)  # Data chooses the names, so the number of classes must be bounded.
def _stand_in_class(name: str, module: str) -> type[RemoteError]:
    space = {"__module__": module, "__qualname__": name, "exc_type": name, "exc_module": module}
    return type(name.rpartition(".")[2] or "UnknownError", (RemoteError,), space)
