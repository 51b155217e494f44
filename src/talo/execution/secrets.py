"""Secret arguments: which parameters are marked, and the sealing of what is passed for them.

Owns the marks of an app's tasks, read once each, and the rule that such an argument is sealed at the door through
which a call leaves its caller (``app.send``), stays sealed wherever the call is kept or shown, and is opened in the
frame around the function (``opening``). Design: ``docs/internals/secrets.md``. Also called by the intake, which seals
what a sender that knows no marks sent in clear, and by whoever replays a call with other arguments.
"""

from __future__ import annotations

import copy
import inspect
import operator
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from talo.canvas.primitives import BULK, MAP
from talo.errors import EncodeError, ImproperlyConfigured
from talo.types import SECRET
from talo.util.optional import load
from talo.wire.protocol import Call
from talo.wire.repr import saferepr
from talo.wire.sealed import MASK, Sealed, is_sealed

__all__ = ["Marks", "Secrets", "marks_of"]

A = TypeVar("A", bound=Sequence[Any])

#: What is shown of a secret argument that nobody has sealed yet.
_HIDDEN = Sealed()
#: In an annotation that cannot be evaluated, this word still counts.
_WORD = re.compile(r"\bSecret\[")


class Marks:
    """Which arguments of one function are secret."""

    __slots__ = ("_keywords", "_named", "_others", "_places", "_rest")

    def __init__(self, parameters: Iterable[inspect.Parameter], secret: Callable[[inspect.Parameter], bool]) -> None:
        kinds = inspect.Parameter
        self._places: list[bool] = []
        self._keywords: set[str] = set()
        self._named: set[str] = set()
        self._rest = self._others = False
        for each in parameters:
            if each.kind is kinds.VAR_POSITIONAL:
                self._rest = secret(each)
            elif each.kind is kinds.VAR_KEYWORD:
                self._others = secret(each)
            else:
                if each.kind is not kinds.KEYWORD_ONLY:
                    self._places.append(secret(each))
                self._named.add(each.name)
                if secret(each):
                    self._keywords.add(each.name)

    def __bool__(self) -> bool:
        return bool(self._keywords) or self._rest or self._others

    @property
    def positional(self) -> bool:
        """Whether some positional argument may be secret."""
        return self._rest or any(self._places)

    def at(self, place: int) -> bool:
        """Whether the positional argument of this index is secret."""
        return self._places[place] if place < len(self._places) else self._rest

    def of(self, keyword: str) -> bool:
        """Whether the argument of this name is secret."""
        return keyword in self._keywords or (self._others and keyword not in self._named)

    def add(self, keywords: Iterable[str]) -> None:
        """Mark keywords that only a ``**`` parameter takes."""
        self._keywords.update(keywords)
        self._named.update(keywords)


def marks_of(function: Callable[..., Any], name: str, names: Sequence[str] | str = ()) -> Marks | None:
    """Return the marks of a task's function: its annotations, and the parameters of these ``names``; None if nothing
    is marked.

    ``ImproperlyConfigured`` for a name that is no parameter.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    parameters: Mapping[str, inspect.Parameter]
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin without a text signature
        parameters = {}
    unknown = [each for each in names if each not in parameters]
    if unknown and not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        raise ImproperlyConfigured(
            f"task {name}: secret names {unknown[0]!r}, which is no parameter of it; it has {', '.join(parameters)}"
        )
    space = getattr(inspect.unwrap(function), "__globals__", {})
    marks = Marks(parameters.values(), lambda each: each.name in names or _is_marked(each.annotation, space))
    marks.add(unknown)
    return marks if marks else None


def _is_marked(annotation: Any, space: dict[str, Any]) -> bool:
    """Whether the mark stands anywhere in an annotation, which may be the text of one."""
    if isinstance(annotation, str):
        if _WORD.search(annotation):
            return True
        try:
            annotation = typing.get_type_hints(_Annotated(annotation), space, include_extras=True)["value"]
        except Exception:  # noqa: BLE001  a name that exists for type checkers only, or any other that is not there yet
            return False
    if SECRET in getattr(annotation, "__metadata__", ()):
        return True
    return any(_is_marked(inner, space) for inner in typing.get_args(annotation) if not isinstance(inner, str))


class _Annotated:
    """One annotation, as ``typing`` reads it."""

    def __init__(self, annotation: str) -> None:
        self.__annotations__ = {"value": annotation}


class _Cover:
    """Puts something in the place of secret arguments, wherever a call stands: ``cover(value, task, anywhere)``."""

    def __init__(self, marks: Mapping[str, Marks], cover: Callable[[Any, str, bool], Any]) -> None:
        self._marks = marks
        self._cover = cover

    def call(
        self, name: str, args: A, kwargs: Mapping[str, Any], *, partial: bool = False
    ) -> tuple[A, Mapping[str, Any]]:
        """The arguments of a call. ``partial``: further ones may come in front, so it is not known yet which of the
        positional ones will stand at a secret parameter, and all are covered."""
        marks = self._marks.get(name)
        if marks is not None:
            anywhere = partial and marks.positional
            covered = [self._argument(each, name, marks.at(at), anywhere) for at, each in enumerate(args)]
            args = tuple(covered) if isinstance(args, tuple) else covered  # type: ignore[assignment]
            kwargs = {key: self._argument(each, name, marks.of(key), False) for key, each in kwargs.items()}
        elif name in BULK:
            kwargs = self._items(name, kwargs)
        try:
            return self.within(args), self.within(kwargs)
        except RecursionError:
            return args, kwargs  # whoever writes it will say so

    def _argument(self, value: Any, name: str, secret: bool, anywhere: bool) -> Any:
        if is_sealed(value):
            return value if type(value) is Sealed else Sealed(value)
        return self._cover(value, name, anywhere) if (secret or anywhere) and value is not None else value

    def _items(self, name: str, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """A call of many calls: each item is the argument of one, or all of its arguments."""
        task, items = kwargs.get("task"), kwargs.get("it")
        one = str(task.get("task")) if isinstance(task, dict) else ""
        if one not in self._marks or not isinstance(items, list | tuple):
            return kwargs
        if name == MAP:
            return {**kwargs, "it": [self.call(one, (each,), {})[0][0] for each in items]}
        return {**kwargs, "it": [self.call(one, each, {})[0] for each in items]}

    def within(self, value: Any) -> Any:
        """A value with all signatures in it; the same object if there is nothing to cover."""
        if isinstance(value, dict):
            name = value.get("task")
            if isinstance(name, str) and "args" in value:
                changed = self._signature(name, value)
            else:
                changed = {key: found for key, item in value.items() if (found := self.within(item)) is not item}
            if not changed:
                return value
            twin = copy.copy(value)
            twin.update(changed)
            return twin
        if type(value) in (list, tuple):
            items = [self.within(item) for item in value]
            return value if all(map(operator.is_, items, value)) else type(value)(items)
        return value

    def _signature(self, name: str, found: dict[str, Any]) -> dict[str, Any]:
        args, kwargs, options = found["args"] or (), found.get("kwargs") or {}, found.get("options")
        covered = *self.call(name, args, kwargs, partial=not found.get("immutable")), self.within(options)
        before = zip(("args", "kwargs", "options"), covered, (args, kwargs, options), strict=True)
        return {key: after for key, after, was in before if after is not was}


class Secrets:
    """The secret arguments of one app. ``keys`` returns its keys and the version of the settings they come from."""

    def __init__(self, keys: Callable[[], tuple[Sequence[str], int]]) -> None:
        self._keys = keys
        self._ring: Any = None
        self._version = -1
        #: Marks by task. Empty in most apps, which then pay for one look whether it is.
        self.marks: dict[str, Marks] = {}
        self._sealing = _Cover(self.marks, self._sealed)
        self._hiding = _Cover(self.marks, lambda _value, _name, _anywhere: _HIDDEN)

    # -- keys

    def ring(self, whose: str) -> Any:
        """The app's keys. ``ImproperlyConfigured`` if it has none; ``MissingExtra`` without ``cryptography``."""
        keys, version = self._keys()
        if self._ring is None or version != self._version:
            if not keys:
                raise ImproperlyConfigured(
                    f"{whose} takes secret arguments, and secret_keys is not set: set it to a list of random texts "
                    f"that senders and workers share, such as what this prints: "
                    f'python -c "import secrets; print(secrets.token_urlsafe(32))"'
                )
            self._ring = load("talo.wire.keyring", "cryptography", "secrets").Keyring(keys)
            self._version = version
        return self._ring

    def ready(self) -> None:
        """``ImproperlyConfigured`` or ``MissingExtra`` if a task takes secret arguments that could not be sealed."""
        if self.marks:
            self.ring(f"task {min(self.marks)}")

    # -- sealing

    def seal(self, value: Any) -> Sealed:
        """Return a value sealed for whatever secret parameter it is passed to, by senders that know the task's name
        only."""
        return self.ring("seal()").seal(value, None, False)  # type: ignore[no-any-return]

    def _sealed(self, value: Any, name: str, anywhere: bool) -> Any:
        return self.ring(f"task {name}").seal(value, name, anywhere)

    def call(self, name: str, args: A, kwargs: Mapping[str, Any]) -> tuple[A, Mapping[str, Any]]:
        """Return the arguments of a call with the secret ones sealed, and those of signatures among them; what is
        sealed stays as it is."""
        return self._sealing.call(name, args, kwargs)

    def within(self, value: Any) -> Any:
        """Return a value with the secret arguments of every signature in it sealed. ``EncodeError`` for a circle."""
        try:
            return self._sealing.within(value)
        except RecursionError:
            raise EncodeError("what hangs on the call refers to itself, or is nested too deeply") from None

    def shown(
        self, name: str, args: A, kwargs: Mapping[str, Any], *, partial: bool = False
    ) -> tuple[A, Mapping[str, Any]]:
        """Return the arguments of a call that is not sealed yet as they may be shown; ``partial`` for those of a
        signature that may get more of them."""
        return self._hiding.call(name, args, kwargs, partial=partial)

    def arrive(self, call: Call, levels: int) -> None:
        """Seal what came in clear, from a sender that knows no marks, and write anew what is shown of the call."""
        if call.task not in self.marks:
            return
        call.args, kwargs = self.call(call.task, call.args, call.kwargs)
        call.kwargs = dict(kwargs)
        call.headers["argsrepr"] = saferepr(tuple(call.args), maxlevels=levels)
        call.headers["kwargsrepr"] = saferepr(call.kwargs, maxlevels=levels)

    # -- opening

    def opened(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Opened:
        """Return the arguments of a call of a marked task as its function takes them. ``SealError``."""
        marks, texts = self.marks[name], []

        def plain(value: Any, secret: bool) -> Any:
            if not is_sealed(value):
                return value
            value = self.ring(f"task {name}").open(value, name, secret)
            if secret:
                texts.append(value)
            return value

        return Opened(
            [plain(each, marks.at(at)) for at, each in enumerate(args)],
            {key: plain(each, marks.of(key)) for key, each in kwargs.items()},
            texts,
        )


class Opened:
    """The arguments of a call in clear, and those values among them that nobody may see."""

    __slots__ = ("args", "kwargs", "values")

    def __init__(self, args: list[Any], kwargs: dict[str, Any], values: list[Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.values = values

    def __repr__(self) -> str:
        return MASK  # trackers of errors show the variables of every frame
