"""Results of runs as they are stored.

Owns which facts of a run its result carries, and for how long it is kept; the form is ``wire.results``'s. Called by
``execution.settle`` and ``execution.parts``.
"""

from __future__ import annotations

from typing import Any

from talo import states
from talo.errors import EncodeError
from talo.execution.env import Env
from talo.execution.request import Context
from talo.stores.base import ResultMeta
from talo.wire.repr import saferepr
from talo.wire.results import encode_result
from talo.wire.sealed import masked
from talo.wire.serializers import get as get_codec

__all__ = ["kept", "meta_of", "payload_of"]


def meta_of(env: Env, request: Context, state: str, value: Any, traceback: str | None) -> ResultMeta:
    payload = payload_of(env, request, state, value, traceback)
    expires = kept(env, state)
    return ResultMeta(
        task_id=str(request.id), status=state, payload=payload, expires=expires, reply_to=request.reply_to
    )


def kept(env: Env, state: str) -> float | None:
    """Return for how many seconds a result in this state is kept."""
    if state == states.FAILURE and env.result_failure_expires is not None:
        return env.result_failure_expires
    return env.result_expires


def payload_of(env: Env, request: Context, state: str, value: Any, traceback: str | None) -> bytes:
    extended: dict[str, Any] | None = None
    if env.result_extended:
        info = request.delivery_info or {}
        extended = {
            "name": request.task,
            "args": _writable(request.args, env),
            "kwargs": _writable(request.kwargs, env),
            "worker": request.hostname,
            "retries": request.retries,
            "queue": info.get("routing_key"),
        }
        if request.stamps:
            extended = {**extended, "stamped_headers": request.stamped_headers, **request.stamps}
    return encode_result(
        str(request.id),
        state,
        value,
        traceback=traceback,
        children=[child.as_tuple() for child in request.children] if request.children else [],
        date_done=env.time() if state in states.READY_STATES else None,
        group_id=request.group,
        parent_id=request.parent_id,
        extended=extended,
        codec=get_codec(env.result_serializer),
        compression=env.result_compression,
    )


def _writable(arguments: Any, env: Env) -> Any:
    """Return arguments as a result can carry them: those that came in a richer format than results have, as text, and
    in place of secret ones the mask."""
    if env.secrets.marks:
        arguments = masked(arguments)
    try:
        get_codec(env.result_serializer).dumps(arguments)
    except EncodeError:
        return saferepr(arguments)
    return arguments
