"""The JSON API: one route for each operation of the table.

Owns reading arguments, checking the role, the audit entries around an action, and the answer; forms of pages come here
too and are sent back to where they were. The operations are in ``operations``."""

from __future__ import annotations

import logging
import secrets
import typing
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from talo.errors import TaloError
from talo.web import audit
from talo.web.answering import as_json, fault_of, redirect, refusal
from talo.web.desk import Desk
from talo.web.guard import form_of
from talo.web.operation import Operation, Unacceptable
from talo.web.user import User

__all__ = ["Endpoint", "arguments_of", "endpoint", "perform"]

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]
#: Fields of forms that are none of the operation's.
_OF_FORMS = ("csrf", "next", "onward")


def endpoint(operation: Operation, desk: Desk) -> Endpoint:
    """Return what answers the operation's route."""

    async def answer(request: Request) -> Response:
        form = form_of(request)
        if form:
            return await _answer_form(operation, desk, request, form)
        try:
            facts = await run_in_threadpool(perform, operation, desk, request, _given(operation, request))
        except (TaloError, msgspec.ValidationError) as error:
            return refusal(request, *fault_of(error))
        except PermissionError as error:
            return refusal(request, 403, str(error))
        return as_json(facts)

    return answer


async def _answer_form(operation: Operation, desk: Desk, request: Request, form: dict[str, list[str]]) -> Response:
    """A form of a page: do it, and go back with a notice, or to the page ``onward`` with the ``rest`` that is left."""
    session = request.state.session
    to = form.get("next", [""])[-1]
    try:
        given = {name: values for name, values in form.items() if name not in _OF_FORMS}
        facts = await run_in_threadpool(perform, operation, desk, request, arguments_of(operation, given))
        session.tell(facts.get("text", "Done."))
        if facts.get("rest"):
            to = f"{form.get('onward', [''])[-1]}&{urlencode(facts['rest'])}"
    except (TaloError, msgspec.ValidationError) as error:
        session.tell(fault_of(error)[1], wrong=True)
    except PermissionError as error:
        return refusal(request, 403, str(error))
    return redirect(request, to)


def perform(operation: Operation, desk: Desk, request: Request, arguments: msgspec.Struct) -> Any:
    """Carry an operation out for the user of a request. ``PermissionError`` if that takes another role."""
    user: User = request.state.user
    if operation.method == "GET":
        _check(operation, user)
        return operation.run(desk, arguments)
    entry = _entry(operation, user, request, arguments)
    try:
        _check(operation, user)
    except PermissionError as error:
        desk.audit.write(msgspec.structs.replace(entry, outcome="refused", text=str(error)))
        raise
    desk.audit.write(entry)
    try:
        facts = operation.run(desk, arguments)
    except Exception as error:
        desk.audit.write(msgspec.structs.replace(entry, at=audit.now(), outcome="failed", text=fault_of(error)[1]))
        raise
    text = facts.get("text", "") if isinstance(facts, dict) else ""
    desk.audit.write(msgspec.structs.replace(entry, at=audit.now(), outcome="done", text=text))
    return facts


def _check(operation: Operation, user: User) -> None:
    if not user.may(operation.role):
        raise PermissionError(f"that takes the role {operation.role}; {user.name} is {user.role}")


def _entry(operation: Operation, user: User, request: Request, arguments: msgspec.Struct) -> audit.Entry:
    return audit.Entry(
        at=audit.now(),
        id=secrets.token_hex(8),
        user=user.name,
        role=str(user.role),
        via=user.via,
        address=request.client.host if request.client else "",
        action=operation.name,
        arguments=audit.shown(arguments, operation.hidden),
        outcome="begun",
    )


def _given(operation: Operation, request: Request) -> msgspec.Struct:
    """The arguments of a query or of a JSON object."""
    if operation.method == "GET":
        query = request.query_params
        return arguments_of(operation, {name: query.getlist(name) for name in query})
    body = request.state.body
    try:
        found = msgspec.json.decode(body or b"{}", type=operation.arguments)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        raise Unacceptable(f"the body is no JSON: {error}") from error
    return found


def arguments_of(operation: Operation, given: dict[str, list[str]]) -> msgspec.Struct:
    """The arguments of a query or form; of texts. Empty ones are left out. ``ValidationError`` for what does not
    fit."""
    hints = typing.get_type_hints(operation.arguments, include_extras=False)
    values: dict[str, Any] = {}
    for name, texts in given.items():
        texts = [text for text in texts if text != ""]
        if texts:
            values[name] = texts if typing.get_origin(hints.get(name)) is list else _truth(hints.get(name), texts[-1])
    return msgspec.convert(values, operation.arguments, strict=False)


def _truth(hint: Any, text: str) -> Any:
    """A box that is ticked sends ``on``."""
    return text in ("on", "1", "true", "yes") if hint is bool else text
