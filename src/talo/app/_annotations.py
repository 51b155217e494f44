"""Changing tasks from the settings: ``task_annotations``.

Owns which annotation fits which task and how it is applied. Caller: ``Talo.finalize``.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any

from talo.errors import ImproperlyConfigured
from talo.util.names import import_path

__all__ = ["annotate"]


def annotate(task: Any, annotations: Any) -> None:
    """Set on the task what the annotations say for its name and for ``*``; a function becomes a method.

    Annotations are a mapping of task names to attributes, an object with ``annotate(task)``, a dotted path of either,
    or a list of them.
    A name may begin with ``@`` (``@tasks.add``); then its attributes come last and win.
    """
    if not annotations:
        return
    for attributes in _fitting(task, annotations):
        for key, value in attributes.items():
            setattr(task, key, types.MethodType(value, task) if isinstance(value, types.FunctionType) else value)


def _fitting(task: Any, annotations: Any) -> Iterator[Mapping[str, Any]]:
    for entry in annotations if isinstance(annotations, list | tuple) else (annotations,):
        source = import_path(entry) if isinstance(entry, str) else entry
        if isinstance(source, type):
            source = source()
        if isinstance(source, Mapping):
            found = [source.get("*"), source.get(task.name), source.get(f"@{task.name}")]
        elif hasattr(source, "annotate"):
            anywhere = source.annotate_any() if hasattr(source, "annotate_any") else None
            found = [anywhere, source.annotate(task)]
        else:
            raise ImproperlyConfigured(f"task_annotations: {entry!r} is no mapping and has no annotate()")
        yield from (attributes for attributes in found if attributes)
