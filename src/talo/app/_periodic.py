"""From ``add_periodic_task``'s arguments to an entry of ``beat_schedule``.

Owns that translation only; running entries is ``beat``'s. Caller: ``app.app``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from talo.canvas.signature import Signature
from talo.wire.repr import saferepr

__all__ = ["periodic_entry"]


def periodic_entry(
    schedule: Any, sig: Any, args: Any, kwargs: Any, name: str | None, options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """(name, entry) of one call. ``TypeError`` for what is no signature and no task."""
    if isinstance(sig, Signature):
        sig = sig.clone(args, dict(kwargs)) if args or kwargs else sig
        task, args, kwargs, options = sig.task, sig.args, sig.kwargs, {**sig.options, **options}
    elif isinstance(getattr(sig, "name", None), str):
        task = sig.name
    else:
        raise TypeError(f"add_periodic_task takes a signature or a task, not {sig!r}")
    entry = {
        "schedule": schedule,
        "task": task,
        "args": tuple(args or ()),
        "kwargs": dict(kwargs or {}),
        "options": dict(options),
    }
    shown = [saferepr(arg) for arg in entry["args"]] + [f"{k}={saferepr(v)}" for k, v in entry["kwargs"].items()]
    return name or f"{task}({', '.join(shown)})", entry
