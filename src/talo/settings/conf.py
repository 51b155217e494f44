"""The settings of one app: every value, and where it came from.

Owns the layers and who wins: command line over environment over code over the configuration object over the app's
defaults over the table's. Reading sources is ``load``'s, the table ``options``'. An app holds one ``Settings``; a
worker freezes it when it starts.

A value that was read once is an ordinary attribute of the instance, so reading costs nothing; any change drops those
attributes.
"""

from __future__ import annotations

import contextlib
import copy
import enum
import os
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from talo.errors import ImproperlyConfigured
from talo.settings import load
from talo.settings._fields import Fields
from talo.settings.bags import BAGS, bag_notes
from talo.settings.options import OPTIONS, Option, Same, Status, add_option, real_name
from talo.settings.secret import hide

__all__ = ["Layer", "Settings", "register_option"]


class Layer(enum.IntEnum):
    """Where a value was set; the higher one wins."""

    APP_DEFAULTS = 0
    OBJECT = 1
    CODE = 2
    ENVIRONMENT = 3
    COMMAND_LINE = 4
    OVERRIDE = 5


class Settings(Fields, MutableMapping[str, Any]):
    """All settings of one app, as attributes and as items, under new and old names.

    ``celery`` takes Celery's defaults wherever they change effects; ``strict`` makes unknown names errors (default:
    unless ``celery``).
    """

    def __init__(
        self, values: Mapping[str, Any] | None = None, *, celery: bool = False, strict: bool | None = None
    ) -> None:
        self._celery = celery
        self._strict = not celery if strict is None else strict
        self._layers: dict[Layer, dict[str, Any]] = {layer: {} for layer in Layer}
        self._origins: dict[Layer, dict[str, str]] = {layer: {} for layer in Layer}
        #: Defaults that can be changed in place: this app's own copies.
        self._copies: dict[str, Any] = {}
        self._namespaces: tuple[str, ...] = ("CELERY_", "TALO_")
        self._pending: list[Callable[[], None]] = []
        #: Held while pending sources are loaded, so that no other thread reads half of them.
        self._lock = threading.RLock()
        self._settling = False
        self._frozen = False
        self._version = 0
        #: Reads the object that settings were taken from last.
        self._read_object: Callable[[], None] | None = None
        if values:
            self.update(values)

    # -- reading -------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        name = self._known(key)
        if name is None:
            raise KeyError(key)
        return getattr(self, name)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._known(key) is not None

    def __iter__(self) -> Iterator[str]:
        self._settle()
        yield from OPTIONS
        yield from self._extras()

    def __len__(self) -> int:
        self._settle()
        return len(OPTIONS) + len(self._extras())

    def first(self, *names: str) -> Any:
        """Return the value of the first name that is a setting and not None; None if there is none."""
        for name in names:
            value = self.get(name)
            if value is not None:
                return value
        return None

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """Return the value of ``<namespace>_<name>``, else of ``name``. Raises KeyError when neither is a setting."""
        joined = f"{namespace}_{name}".lower()
        return self[joined] if joined in self else self[name]

    def get_by_parts(self, *parts: str) -> Any:
        """Return the value of the setting whose name the parts make. Raises KeyError when there is none."""
        return self["_".join(part for part in parts if part)]

    @property
    def celery(self) -> bool:
        """Whether Celery's defaults hold."""
        return self._celery

    @property
    def strict(self) -> bool:
        """Whether unknown names are errors."""
        return self._strict

    @property
    def version(self) -> int:
        """A number that grows with every change, so that what was derived from the settings can be derived anew."""
        return self._version

    # -- telling -------------------------------------------------------------------------------------------------------

    def origin(self, name: str) -> str:
        """Return where the value came from. Raises KeyError for an unknown name.

        ``default``, ``app defaults``, ``object X``, ``code``, ``environment variable X`` or ``command line``.
        """
        real = self._known(name)
        if real is None:
            raise KeyError(name)
        for layer in reversed(Layer):
            if real in self._layers[layer]:
                return self._origins[layer][real]
        default = OPTIONS[real].default_for(self._celery)
        if real in self._copies and self._copies[real] != default:
            return "code (changed in place)"
        return f"default (same as {default.name})" if isinstance(default, Same) else "default"

    @property
    def changes(self) -> dict[str, Any]:
        """What was set anywhere, or changed in place, by today's names."""
        self._settle()
        merged: dict[str, Any] = {}
        for name, value in self._copies.items():
            if value != OPTIONS[name].default_for(self._celery):
                merged[name] = value
        for layer in Layer:
            merged.update(self._layers[layer])
        return merged

    def without_defaults(self) -> dict[str, Any]:
        """Return what was set anywhere, as ``changes`` does."""
        return self.changes

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """Return settings by name: those that were set, or all ``with_defaults``; secrets hidden if ``censored``."""
        values = dict(self) if with_defaults else self.changes
        return {name: self._shown(name, value) if censored else value for name, value in values.items()}

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """Return the settings as lines ``name: value``."""
        return "\n".join(f"{name}: {value!r}" for name, value in self.table(with_defaults, censored).items())

    def explain(self, with_defaults: bool = True) -> list[tuple[str, str, str]]:
        """Return (name, value as it may be shown, origin) of every setting."""
        return [(name, repr(value), self.origin(name)) for name, value in self.table(with_defaults).items()]

    def notes(self) -> list[str]:
        """Return what a worker should say at start: settings without effect yet, and probable misspellings."""
        lines = []
        for name, value in self.changes.items():
            option = OPTIONS.get(name)
            if option is None:
                guess = load.near_miss(name)
                if guess is not None:
                    lines.append(f"{name} is not a setting; did you mean {guess}?")
            elif option.status is Status.COMING and not option.is_default(value):
                lines.append(f"{name} has no effect yet: {option.reason}")
            elif name in BAGS:
                lines.extend(bag_notes(name, value or {}))
        return lines

    def __repr__(self) -> str:
        return f"<Settings {self.table()!r}>"

    # -- changing ------------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __setitem__(self, key: str, value: Any) -> None:
        self._apply(load.Source({real_name(key, self._namespaces) or key: value}, "code"), Layer.CODE)

    def __delitem__(self, key: str) -> None:
        name = self._known(key)
        if name is None or name not in self._layers[Layer.CODE]:
            raise KeyError(key)
        self._refuse_if_frozen((name,))
        with self._lock:
            del self._layers[Layer.CODE][name]
            del self._origins[Layer.CODE][name]
            self._forget_read(also=(name,))

    def update(self, other: Any = (), /, **values: Any) -> None:
        """Set several at once; all problems come in one error, and then nothing was set."""
        given = {str(name): value for name, value in {**dict(other), **values}.items()}
        self._apply(load.Source(given, "code"), Layer.CODE)

    def clear(self) -> None:
        """Take back what was set by code."""
        for name in list(self._layers[Layer.CODE]):
            del self[name]

    def add_defaults(self, defaults: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Put values above the table's defaults and below all else; a function is called at the first reading."""

        def apply() -> None:
            values = defaults() if callable(defaults) else defaults
            self._apply(load.Source(dict(values), "app defaults"), Layer.APP_DEFAULTS)

        self._add_pending(apply)

    def load_object(
        self, source: Any, namespace: str | None = None, *, silent: bool = False, lazy: bool = False
    ) -> None:
        """Take the values of an object, module, dictionary or dotted path, in place of those of an object before.

        ``lazy`` waits until a value is read. Raises ImportError unless ``silent``, and ImproperlyConfigured for what
        cannot be used.
        """

        def apply() -> None:
            try:
                found = load.read_object(source, namespace)
            except ImportError:
                if not silent:
                    raise
                return
            if found.namespace and found.namespace not in self._namespaces:
                self._namespaces = (*self._namespaces, found.namespace)
            self._apply(found, Layer.OBJECT, replace=True)

        self._read_object = apply
        if lazy:
            self._add_pending(apply)
            return
        self._settle()
        with self._lock:
            apply()

    def reload(self) -> None:
        """Read the object that settings were taken from once more, at the next reading of a value: it has changed."""
        if self._read_object is not None:
            self._add_pending(self._read_object)

    @contextlib.contextmanager
    def overridden(self, **values: Any) -> Iterator[None]:
        """Within it these values win over every source, the environment included: for tests. It may be nested."""
        before = dict(self._layers[Layer.OVERRIDE])
        self._apply(load.Source({**before, **values}, "override"), Layer.OVERRIDE, replace=True)
        try:
            yield
        finally:
            self._apply(load.Source(before, "override"), Layer.OVERRIDE, replace=True)

    def load_environment(self, environ: Mapping[str, str] | None = None) -> None:
        """Take the values of the environment's variables (``os.environ`` if none is given)."""
        found = load.read_environment(os.environ if environ is None else environ, strict=self._strict)
        self._apply(found, Layer.ENVIRONMENT, replace=True)

    def load_command_line(self, arguments: Sequence[str]) -> None:
        """Take the values of ``name=value`` arguments."""
        self._apply(load.read_command_line(arguments), Layer.COMMAND_LINE)

    # -- freezing ------------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Settle everything; from now on a change raises ImproperlyConfigured. Freezing twice is legal."""
        self._settle()
        self._frozen = True

    def thaw(self) -> None:
        """Allow changes again: what ran with these settings has ended."""
        self._frozen = False

    @property
    def frozen(self) -> bool:
        """Whether changes are refused."""
        return self._frozen

    # -- inside --------------------------------------------------------------------------------------------------------

    def _apply(self, source: load.Source, layer: Layer, replace: bool = False) -> None:
        checked = load.check(source.values, strict=self._strict, namespace=source.namespace)
        self._refuse_if_frozen(checked.values)
        with self._lock:
            gone: tuple[str, ...] = ()
            if replace:
                gone = tuple(self._layers[layer])
                self._layers[layer].clear()
                self._origins[layer].clear()
            for name, value in checked.values.items():
                variable = f" {checked.written[name]}" if layer is Layer.ENVIRONMENT else ""
                self._layers[layer][name] = value
                self._origins[layer][name] = source.origin + variable
            self._forget_read(also=(*gone, *checked.values))

    def _refuse_if_frozen(self, names: Any) -> None:
        if self._frozen and names:
            raise ImproperlyConfigured(
                f"{', '.join(sorted(names))} cannot change: the settings were frozen when the worker started"
            )

    def _forget_read(self, also: Sequence[str] = ()) -> None:
        """Drop values that were read; unknown names, which have no field on the class, are put in place at once."""
        self._version += 1
        read = self.__dict__
        for name in [name for name in read if name in OPTIONS]:
            del read[name]
        for name in also:
            if name in OPTIONS:
                continue
            read.pop(name, None)
            for layer in Layer:
                if name in self._layers[layer]:
                    read[name] = self._layers[layer][name]

    def _add_pending(self, apply: Callable[[], None]) -> None:
        self._refuse_if_frozen(("these settings",))
        with self._lock:
            self._pending.append(apply)
            self._forget_read()

    def _settle(self) -> None:
        """Load what waits to be loaded. What fails stays waiting, so that the next reader is told too."""
        if not self._pending:
            return
        with self._lock:
            if self._settling:
                return  # A configuration module that reads settings while it is imported: it sees what there is so far.
            self._settling = True
            try:
                while self._pending:
                    self._pending[0]()
                    self._pending.pop(0)
            finally:
                self._settling = False

    def _read(self, option: Option) -> Any:
        """Return the value of a setting from the highest layer that has it."""
        self._settle()
        name = option.name
        for layer in reversed(Layer):
            if name in self._layers[layer]:
                return self._layers[layer][name]
        default = option.default_for(self._celery)
        if isinstance(default, Same):
            return getattr(self, default.name)
        if isinstance(default, dict | list):
            return self._copies.setdefault(name, copy.deepcopy(default))
        return default

    def _known(self, key: str) -> str | None:
        """Return today's name for a key, or that of an unknown setting that was kept; None when there is none."""
        self._settle()
        name = real_name(key, self._namespaces)
        if name is not None:
            return name
        extras = self._extras()
        if key in extras:
            return key
        for namespace in self._namespaces:
            if key.startswith(namespace) and key.removeprefix(namespace).lower() in extras:
                return key.removeprefix(namespace).lower()
        return None

    def _extras(self) -> dict[str, None]:
        return {name: None for layer in Layer for name in self._layers[layer] if name not in OPTIONS}

    def _shown(self, name: str, value: Any) -> Any:
        option = OPTIONS.get(name)
        return hide(value, name, option.secret if option else False)


class _Field:
    """One setting as an attribute of the class; on an instance the value that was read stands in its place."""

    __slots__ = ("option",)

    def __init__(self, option: Option) -> None:
        self.option = option

    def __get__(self, conf: Settings | None, owner: type[Settings]) -> Any:
        if conf is None:
            return self.option
        value = conf._read(self.option)
        conf.__dict__[self.option.name] = value
        return value


def register_option(option: Option) -> None:
    """Add a plug-in's setting to the table of this process. Raises ImproperlyConfigured when its name is taken."""
    add_option(option)
    setattr(Settings, option.name, _Field(option))


for _option in OPTIONS.values():
    setattr(Settings, _option.name, _Field(_option))
