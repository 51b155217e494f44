"""Whether arguments fit a task's function, asked at the send instead of found out in the worker.

Owns the check alone; ``app.task`` asks it at every send of a task whose ``typing`` is on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["ArgumentCheck"]


class ArgumentCheck:
    """The signature of one function, prepared so that the usual call is decided by counting."""

    __slots__ = ("_least", "_most", "_name", "_signature")

    def __init__(self, fun: Callable[..., Any], name: str) -> None:
        self._name = name
        parameters: list[inspect.Parameter] = []
        try:
            parameters = list(inspect.signature(fun).parameters.values())
        except (TypeError, ValueError):  # a builtin without a text signature: anything may fit
            anything = inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)
            parameters = [anything, inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)]
        self._signature = inspect.Signature(parameters)
        self._least = -1
        self._most = -1
        self._prepare(parameters)

    def _prepare(self, parameters: list[inspect.Parameter]) -> None:
        kinds = inspect.Parameter
        positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        if any(p.kind is kinds.KEYWORD_ONLY and p.default is p.empty for p in parameters):
            return  # never decided by counting
        self._least = sum(p.default is p.empty for p in positional)
        unbounded = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
        self._most = 1 << 30 if unbounded else len(positional)

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """``TypeError``, worded like that of the call itself, if the arguments do not fit."""
        if not kwargs and self._least <= len(args) <= self._most:
            return
        if not isinstance(kwargs, Mapping):
            raise TypeError(f"{self._name}(): kwargs must be a dict, not {type(kwargs).__name__}")
        if isinstance(args, str | bytes | Mapping):
            raise TypeError(f"{self._name}(): args must be a list or tuple, not {type(args).__name__}")
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{self._name}() {exc}") from None
