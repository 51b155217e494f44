"""Tasks whose arguments and result are pydantic models: validated before the call, dumped after it.

Owns the wrapper around the function. Imported only by ``app._decorator`` for ``pydantic=True``, because pydantic is an
optional dependency and this is the one file that imports it.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import pydantic

__all__ = ["validated"]


def validated(
    fun: Callable[..., Any], *, strict: bool, context: dict[str, Any], dump_kwargs: dict[str, Any]
) -> Callable[..., Any]:
    """Return ``fun`` with model arguments made from plain data and a model result turned into plain data.

    Which arguments are models is read from the annotations at the first call, so forward references may be used.
    """
    signature = inspect.signature(fun)

    @functools.cache
    def models() -> dict[str, type[pydantic.BaseModel]]:
        hints = typing.get_type_hints(fun)
        return {name: model for name in signature.parameters if (model := _model(hints.get(name))) is not None}

    def load(args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        arguments = signature.bind(*args, **kwargs)
        for name, model in models().items():
            value = arguments.arguments.get(name)
            if value is not None and not isinstance(value, model):
                arguments.arguments[name] = model.model_validate(value, strict=strict, context=context)
        return arguments

    def dump(result: Any) -> Any:
        return result.model_dump(**dump_kwargs) if isinstance(result, pydantic.BaseModel) else result

    if inspect.iscoroutinefunction(fun):

        @functools.wraps(fun)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            arguments = load(args, kwargs)
            return dump(await fun(*arguments.args, **arguments.kwargs))
    else:

        @functools.wraps(fun)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            arguments = load(args, kwargs)
            return dump(fun(*arguments.args, **arguments.kwargs))

    return wrapper


def _model(hint: Any) -> type[pydantic.BaseModel] | None:
    """The model class of an annotation: the class itself, or the one beside None."""
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        return hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        return _model(inner[0]) if len(inner) == 1 else None
    return None
