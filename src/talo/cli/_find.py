"""Finding the app that ``-A`` names.

Owns the forms (``module:attribute``, ``module.attribute``, ``module``, ``package``) and what is said when there is no
app: which file and line failed, or which name was probably meant. Called by ``cli._session``."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from types import ModuleType
from typing import Any

from talo.app.app import Talo
from talo.app.current import Proxy
from talo.app.task import Task
from talo.cli._django import django_app
from talo.cli._errors import Refused, blame, joined
from talo.errors import TaloError
from talo.util.names import nearest
from talo.util.text import words

__all__ = ["find_app"]

#: What apps are called, in the order of trying.
ATTRIBUTES = ("app", "celery", "talo")
#: Modules of a package in which its app may be.
SUBMODULES = ("celery", "talo", "queue", "tasks")


def find_app(name: str) -> Talo:
    """Return the app that ``name`` leads to; ``Refused`` says in one line why there is none."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    if os.sep in name or name.startswith("."):
        meant = name.strip("./").removesuffix(".py").replace(os.sep, ".")
        raise Refused(f"-A {name}: name a module, not a file or folder: {meant or f'one of those in {here}'}")
    name = name.removesuffix(".py")
    module_name, colon, attribute = name.partition(":")
    if colon:
        return _app_at(_import(module_name, name), attribute, name)
    module = _import_if_there(module_name)
    if module is not None:
        return _app_in(module, name)
    parent, dot, attribute = module_name.rpartition(".")
    if dot and (module := _import_if_there(parent)) is not None:
        return _app_at(module, attribute, name)
    raise _no_module(parent if dot and _first_missing(parent) else module_name, name)


def _app_at(module: ModuleType, attributes: str, name: str) -> Talo:
    """The app under a name that was given."""
    target: Any = module
    for attribute in attributes.split("."):
        if not hasattr(target, attribute):
            guess = nearest(attribute, [known for known in vars(target) if not known.startswith("_")])
            hint = f"; did you mean {guess!r}?" if guess else f": {_offer(module)}"
            raise Refused(f"-A {name}: {module.__name__} has no attribute {attribute!r}{hint}")
        target = getattr(target, attribute)
    if isinstance(target, ModuleType):
        return _app_in(target, name)
    app = _as_app(target)
    if app is None:
        raise Refused(f"-A {name}: {attributes} is {_kind(target)}, not a Talo app: {_offer(module)}")
    return app


def _app_in(module: ModuleType, name: str) -> Talo:
    """The app of a module that was named as a whole: by its usual names, the only one, or in its usual submodules."""
    found = _lookup(module, name)
    if found is not None:
        return found
    if hasattr(module, "__path__"):
        for submodule in SUBMODULES:
            inner = _import_if_there(f"{module.__name__}.{submodule}")
            if inner is not None and (found := _lookup(inner, name)) is not None:
                return found
        if (found := django_app(module.__name__)) is not None:
            return found
    raise Refused(
        f"-A {name}: {module.__name__} holds no Talo app: create one there, as in app = Talo({module.__name__!r})"
    )


def _lookup(module: ModuleType, name: str) -> Talo | None:
    apps = _apps_of(module)
    for attribute in ATTRIBUTES:
        if attribute in apps:
            return apps[attribute]
    if len({id(app) for app in apps.values()}) > 1:
        names = words([f"{module.__name__}:{attribute}" for attribute in apps])
        raise Refused(f"-A {name}: {module.__name__} holds several apps; say which: {names}")
    return next(iter(apps.values()), None)


def _apps_of(module: ModuleType) -> dict[str, Talo]:
    return {name: app for name, value in vars(module).items() if (app := _as_app(value)) is not None}


def _as_app(value: Any) -> Talo | None:
    # A proxy says it is a Talo, but which one is a matter of who asks: only an app of the module's own counts.
    return value if type(value) is not Proxy and isinstance(value, Talo) else None


def _offer(module: ModuleType) -> str:
    apps = [f"{module.__name__}:{name}" for name in _apps_of(module)]
    return f"there is {words(apps)}" if apps else "there is no app in that module"


def _kind(value: Any) -> str:
    kind = "Task" if isinstance(value, Task) else type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _import(module_name: str, name: str) -> ModuleType:
    module = _import_if_there(module_name)
    if module is None:
        raise _no_module(module_name, name)
    return module


def _import_if_there(module_name: str) -> ModuleType | None:
    """Import a module; None if there is none of this name. ``Refused`` if it is there and fails."""
    if not all(part.isidentifier() for part in module_name.split(".")):
        return None
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}.") and not _raised_by_user(error):
            return None
        raise _broken(module_name, error) from error
    except (Exception, SystemExit) as error:
        if os.environ.get("TALO_DEBUG"):
            raise
        raise _broken(module_name, error) from error


def _raised_by_user(error: BaseException) -> bool:
    """Whether the failing import stands in a file, and is not the one of ``-A`` itself."""
    return blame(error) is not None


def _broken(module_name: str, error: BaseException) -> Refused:
    place = blame(error)
    cause = str(error) if isinstance(error, TaloError) else f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        cause = f"{type(error).__name__}: {error.msg}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        mend = f"install what provides {error.name!r}, or correct that line"
    else:
        mend = "correct that line (TALO_DEBUG=1 shows the traceback)"
    where = f", {place}" if place else ""
    said = joined(cause).rstrip(".")
    stop = "" if said.endswith("?") else "."
    return Refused(f"the module {module_name} cannot be imported{where}: {said}{stop} To mend it, {mend}")


def _first_missing(module_name: str) -> bool:
    return _import_if_there(module_name.partition(".")[0]) is None


def _no_module(module_name: str, name: str) -> Refused:
    package, _, last = module_name.rpartition(".")
    known = _modules_in(package)
    guess = nearest(last, known)
    if guess is not None:
        hint = f"; did you mean {f'{package}.{guess}' if package else guess}?"
    else:
        hint = f"; Talo looks in {os.getcwd()} (--workdir changes that) and on Python's path"
    return Refused(f"-A {name}: there is no module {module_name!r}{hint}")


def _modules_in(package: str) -> list[str]:
    if not package:
        return [info.name for info in pkgutil.iter_modules([os.getcwd()])]
    module = _import_if_there(package)
    return [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", []))] if module is not None else []
