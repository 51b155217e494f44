"""``celery.utils`` and what is below it, as far as projects and plug-ins use it.

Owns small functions without state; each names in its docstring what it returns. Time is in ``compat.times``.
"""

from __future__ import annotations

import base64
import importlib
import os
import pickle
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import Any

from talo.util.names import import_path
from talo.worker.plan import node_name

__all__ = [
    "AttributeDict",
    "LRUCache",
    "anon_nodename",
    "b64decode",
    "b64encode",
    "cached_property",
    "chunks",
    "close_open_fds",
    "default_nodename",
    "dictfilter",
    "find_module",
    "first",
    "force_mapping",
    "gen_task_name",
    "get_full_cls_name",
    "gethostname",
    "host_format",
    "import_from_cwd",
    "instantiate",
    "is_list",
    "isatty",
    "maybe_list",
    "memoize",
    "node_format",
    "nodename",
    "nodesplit",
    "noop",
    "pass1",
    "pickle",
    "qualname",
    "symbol_by_name",
    "truncate",
    "uniq",
]


# -- names


def symbol_by_name(
    name: Any, aliases: Mapping[str, Any] | None = None, imp: Any = None, package: str | None = None, **kw: Any
) -> Any:
    """The object behind ``module:attribute`` or ``module.attribute``; what is no text as it is."""
    del imp
    if not isinstance(name, str):
        return name
    target = (aliases or {}).get(name) or name
    if not isinstance(target, str):
        return target
    if target.startswith("."):
        target = f"{package}{target}"
    try:
        return import_path(target)
    except (ImportError, AttributeError):
        if "default" in kw:
            return kw["default"]
        raise


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """An object of a class or of the path of one."""
    return symbol_by_name(name)(*args, **kwargs)


def qualname(obj: Any) -> str:
    """``module.Name`` of an object or its class."""
    if not hasattr(obj, "__name__") and hasattr(obj, "__class__"):
        obj = obj.__class__
    return f"{obj.__module__}.{getattr(obj, '__qualname__', obj.__name__)}"


get_full_cls_name = qualname


@contextmanager
def cwd_in_path() -> Iterator[None]:
    """With the working directory on Python's path."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def import_from_cwd(module: str, imp: Any = None, package: str | None = None) -> Any:
    """A module, looked for in the working directory too."""
    with cwd_in_path():
        return (imp or importlib.import_module)(module, package=package)


def find_module(module: str, path: Any = None, imp: Any = None) -> Any:
    """A module, looked for in the working directory too."""
    del path
    return import_from_cwd(module, imp)


def gen_task_name(app: Any, name: str, module_name: str) -> str:
    """The name of a task of a module."""
    return str(app.gen_task_name(name, module_name))


# -- nodes


def gethostname() -> str:
    """This machine's name."""
    return socket.gethostname()


def nodename(name: str | None, hostname: str) -> str:
    """``name@hostname``."""
    return f"{name}@{hostname}"


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """A node name of this process."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def nodesplit(name: str) -> tuple[str | None, str]:
    """(name, host) of a node name."""
    left, at, right = name.partition("@")
    return (left, right) if at else (None, name)


def default_nodename(hostname: str | None) -> str:
    """The node name that a worker makes of an option."""
    name, host = nodesplit(hostname or "")
    return nodename(name or "celery", host or gethostname())


def host_format(s: str, host: str | None = None, name: str | None = None, **_extra: Any) -> str:
    """``%h``, ``%n``, ``%d`` filled in."""
    full = node_name("x@%h").partition("@")[2] if host is None else host
    own, _, domain = full.partition(".")
    for escape, value in (("%%", "\0"), ("%h", full), ("%n", name or own), ("%d", domain), ("\0", "%")):
        s = s.replace(escape, value)
    return s


def node_format(s: str, name: str, **extra: Any) -> str:
    """``%h``, ``%n``, ``%d``, ``%p`` filled in for a node."""
    own, host = nodesplit(name)
    return host_format(s.replace("%p", name), host=host, name=own or "celery", **extra)


# -- functions


def noop(*_args: Any, **_kwargs: Any) -> None:
    """Nothing."""


def pass1(arg: Any, *_args: Any, **_kwargs: Any) -> Any:
    """The first argument."""
    return arg


def is_list(value: Any, scalars: Any = (Mapping, str), iters: Any = (Iterable,)) -> bool:
    """Whether it is iterable and no text or mapping."""
    return isinstance(value, iters) and not isinstance(value, scalars or ())


def maybe_list(value: Any, scalars: Any = (Mapping, str)) -> Any:
    """A list of one, unless it is one or None."""
    return value if value is None or is_list(value, scalars) else [value]


def first(predicate: Callable[[Any], Any] | None, it: Iterable[Any]) -> Any:
    """The first item that fulfils it; without a predicate the first that is not None; else None."""
    test = predicate or (lambda item: item is not None)
    return next((item for item in it if test(item)), None)


def uniq(it: Iterable[Any]) -> Iterator[Any]:
    """The items, each once."""
    seen: set[Any] = set()
    for item in it:
        if item not in seen:
            seen.add(item)
            yield item


def chunks(it: Iterator[Any], n: int) -> Iterator[list[Any]]:
    """Lists of ``n`` items."""
    for item in it:
        yield [item, *islice(it, n - 1)]


def dictfilter(d: Mapping[str, Any] | None = None, **kw: Any) -> dict[str, Any]:
    """Without the entries that are None."""
    return {key: value for key, value in {**(d or {}), **kw}.items() if value is not None}


def padlist(container: Iterable[Any], size: int, default: Any = None) -> Iterator[Any]:
    """The items, filled up to ``size``."""
    items = list(container)[:size]
    yield from [*items, *[default] * (size - len(items))]


def mattrgetter(*attrs: str) -> Callable[[Any], dict[str, Any]]:
    """A function from an object to these attributes of it by name, None where it has none."""
    return lambda obj: {attr: getattr(obj, attr, None) for attr in attrs}


def maybe(typ: Callable[[Any], Any], val: Any) -> Any:
    """``typ(val)``, None as it is."""
    return typ(val) if val is not None else None


def firstmethod(method: str, on_call: Any = None) -> Callable[..., Any]:
    """A function that calls a method of each object until one answers."""

    def call(it: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for obj in it:
            meth = getattr(obj, method)
            answer = on_call(meth, *args, **kwargs) if on_call else meth(*args, **kwargs)
            if answer is not None:
                return answer
        return None

    return call


class LRUCache(OrderedDict[Any, Any]):
    """A dict that forgets what was used least lately above ``limit`` entries."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        while self.limit and len(self) > self.limit:
            self.popitem(last=False)


def memoize(maxsize: int | None = None, keyfun: Any = None, Cache: Any = LRUCache) -> Callable[[Any], Any]:
    """A decorator that remembers results."""

    def decorate(fun: Any) -> Any:
        cache = Cache(limit=maxsize)

        def remembered(*args: Any, **kwargs: Any) -> Any:
            key = keyfun(args, kwargs) if keyfun else (args, tuple(sorted(kwargs.items())))
            if key not in cache:
                cache[key] = fun(*args, **kwargs)
            return cache[key]

        remembered.clear = cache.clear  # type: ignore[attr-defined]
        return remembered

    return decorate


# -- data


class AttributeDict(dict[str, Any]):
    """A dict whose entries are attributes too."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value


def force_mapping(m: Any) -> Any:
    """A mapping of anything with attributes; mappings as they are."""
    return m if isinstance(m, Mapping) else vars(m)


def b64encode(s: Any) -> str:
    """Base64 text of bytes or text."""
    return base64.b64encode(s.encode() if isinstance(s, str) else s).decode()


def b64decode(s: Any) -> bytes:
    """The bytes of base64 text."""
    return base64.b64decode(s.encode() if isinstance(s, str) else s)


def strtobool(term: Any, table: Mapping[str, bool] | None = None) -> bool:
    """True or False of a text. ``TypeError`` for any other text."""
    if not isinstance(term, str):
        return bool(term)
    known = table or {
        "true": True,
        "yes": True,
        "1": True,
        "on": True,
        "false": False,
        "no": False,
        "0": False,
        "off": False,
    }
    if term.lower() not in known:
        raise TypeError(f"Cannot coerce {term!r} to type bool")
    return known[term.lower()]


def str_to_list(value: Any) -> list[str]:
    """The names between the commas of a text; lists as they are."""
    return value.split(",") if isinstance(value, str) else value


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """A word for so many."""
    return text if n == 1 else f"{text}{suffix}"


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """A text with spaces before its lines."""
    return sep.join(" " * indent + line for line in t.split(sep))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """A text of at most ``maxlen`` characters, cut at a word."""
    if maxlen and len(s) >= maxlen:
        return s[: maxlen - len(suffix)].rsplit(" ", 1)[0] + suffix
    return s


# -- the process


def isatty(fh: Any) -> bool:
    """Whether a file is a terminal."""
    return bool(getattr(fh, "isatty", lambda: False)())


def close_open_fds(keep: Any = None) -> None:
    """Close every descriptor above 2 but those to keep."""
    kept = {each if isinstance(each, int) else each.fileno() for each in keep or ()} | {0, 1, 2}
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue
