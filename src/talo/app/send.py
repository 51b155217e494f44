"""The one door out: from a call and its options to messages in the broker.

Owns the meaning of every option of ``apply_async``: where the call goes (asked of ``routes``), who its parent is, when
it is due, which headers and properties it carries. Writing the message is ``wire.protocol``'s, keeping it the store's.
Callers: ``Talo.send_task``, ``app.bulk``
and ``app.workflows``; the worker's follow-ups come through ``prepare``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import NoneType
from typing import Any, NamedTuple, cast

from talo import signals
from talo.app._call import (
    ALIKE,
    HEADERS,
    NO_EMBED,
    NOTHING,
    USED,
    SendOptions,
    as_tuple,
    check_call,
    delivery_mode,
    embed_of,
    repr_levels,
    times_of,
)
from talo.app._forms import Forms
from talo.app._put import Put
from talo.app.result import AsyncResult
from talo.app.routes import DESTINATION, Route
from talo.app.task import remember_child
from talo.errors import NotSupported, TaloWarning
from talo.execution.request import Frame, worker_frame
from talo.wire import new_id, serializers
from talo.wire.form import FilledForm, Form
from talo.wire.message import Message
from talo.wire.protocol import Embed, encode_body, make_message
from talo.wire.queues import Broadcast
from talo.wire.repr import saferepr
from talo.wire.sent import SENT

__all__ = ["Own", "Prepared", "SendOptions", "Sender"]


log = logging.getLogger("talo.app")


class Prepared(NamedTuple):
    """One call ready to be sent: the message for each queue that gets a copy, and what signals and result need of
    it."""

    messages: list[Message]
    id: str
    call: tuple[Any, Any, Embed]
    options: Mapping[str, Any]
    parent: Frame | None


class Own(NamedTuple):
    """Options in which calls differ that are alike otherwise: the places of a workflow."""

    task_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    reply_to: str | None = None

    def said(self) -> dict[str, Any]:
        """Those that are said, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


_OWN = frozenset(Own._fields)
_NONE_OWN = Own()


class Sender:
    """Sends for one app."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._secrets = app.secrets
        #: Which calls are alike; ``app.bulk`` asks once for many.
        self.forms = Forms(app, self._model)

    # -- one

    def send(self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> AsyncResult[Any]:
        """Send one call; return the handle of its result. Errors as of ``Task.apply_async``."""
        if self._app.conf.task_always_eager and options.get("task_type") is None:
            warnings.warn(f"task_always_eager does not concern send_task: {name} was sent", TaloWarning, stacklevel=3)
        prepared = self.prepared(name, args, kwargs, options, self.forms.find(name, options))
        self._announce(prepared)
        self._publish(prepared.messages, options)()
        self._told([prepared])
        return self.result(prepared)

    def prepare(self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Prepared:
        """Turn a call and its options into messages, and send nothing."""
        prepared = self.prepared(name, args, kwargs, options, self.forms.find(name, options))
        messages = _loose(prepared.messages)
        if signals.task_prepared.receivers:
            for message in messages:
                signals.task_prepared.send(sender=name, headers=message.headers)
        return prepared._replace(messages=messages)

    def hold(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]
    ) -> tuple[list[Message], Callable[[], None]]:
        """The messages of one call that somebody else sends, announced like any other, and what to call once they
        are sent."""
        prepared = self.prepare(name, args, kwargs, options)
        self._announce(prepared)
        return prepared.messages, partial(self._told, [prepared])

    def prepared(
        self,
        name: str,
        args: Any,
        kwargs: Any,
        options: Mapping[str, Any],
        form: Form | None,
        own: Own = _NONE_OWN,
    ) -> Prepared:
        """One call ready to be sent, with these options of its own; ``form`` as ``forms`` knows it without them."""
        if type(args) is not tuple:
            args = () if args is None else args if isinstance(args, tuple | list) else as_tuple(name, args)
        if kwargs is None:
            kwargs = NOTHING
        elif type(kwargs) is not dict:
            check_call(name, kwargs, options)
        if self._secrets.marks:
            args, kwargs = self._secrets.call(name, args, kwargs)
        if form is None:
            return self._written(name, args, kwargs, {**options, **own.said()} if own is not _NONE_OWN else options)
        parent = worker_frame()
        task_id = own.task_id or new_id()
        message = form.fill(
            task_id,
            args,
            kwargs,
            root_id=task_id if parent is None else parent.request.root_id or parent.request.id or task_id,
            parent_id=None if parent is None else parent.request.id,
            reply_to=own.reply_to or self._app.thread_oid,
            now=self._app.time(),
            group=own.group_id,
            group_index=own.group_index,
        )
        return Prepared([message], task_id, (args, kwargs, NO_EMBED), options, parent)

    def _model(self, name: str, options: Mapping[str, Any]) -> Message | None:
        """The message of a call without arguments, if every call of that name with these options is like it."""
        app = self._app
        alike = (
            app.router.static
            and not app.conf.task_inherit_parent_priority
            and app.conf.task_protocol == 2
            and all(type(options.get(key)) in (str, NoneType) for key in DESTINATION)
        )
        if not alike:
            return None
        made = self._written(name, (), NOTHING, options)
        # A route may have options, too.
        return made.messages[0] if len(made.messages) == 1 and ALIKE.issuperset(made.options) else None

    def _written(self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Prepared:
        """A call whose message is like no other's, or the first of its like."""
        check_call(name, kwargs, options)
        app = self._app
        conf = app.conf
        task = options.get("task_type")
        route = app.router.route(name, options, args, kwargs, task)
        self._check_reach(name, route)
        if route.options:
            options = {**route.options, **{k: v for k, v in options.items() if v is not None}}
        parent = worker_frame()
        task_id = options.get("task_id") or new_id()
        now = app.time()
        eta, expires = times_of(name, options, now, app.timezone) if options else (None, None)
        embed = self._secrets.within(embed_of(options)) if self._secrets.marks else embed_of(options)
        fields = self._fields(options, parent, task_id)
        for key, value in (("argsrepr", args), ("kwargsrepr", kwargs)):
            if key not in fields:
                fields[key] = saferepr(value, maxlevels=repr_levels(conf))
        compression = options.get("compression") or conf.task_compression
        codec = serializers.get(options.get("serializer") or conf.task_serializer)
        headers = options.get("headers")
        if conf.task_protocol == 2:
            headers = {SENT: now, **(headers or NOTHING)}
        messages = [
            make_message(
                name,
                task_id,
                args,
                kwargs,
                queue=queue,
                exchange=route.exchange,
                routing_key=route.routing_key,
                priority=self._priority(options, parent),
                reply_to=options.get("reply_to") or app.thread_oid,
                delivery_mode=delivery_mode(options.get("delivery_mode") or conf.task_default_delivery_mode),
                eta=eta,
                expires=expires,
                now=now,
                tz=app.timezone,
                codec=codec,
                compression=compression,
                task_protocol=conf.task_protocol,
                headers=headers,
                embed=embed,
                **fields,
            )
            for queue in route.queues
        ]
        if not USED.issuperset(options):
            extra = {key: value for key, value in options.items() if key not in USED and value is not None}
            for key in options.get("stamped_headers") or ():
                extra.pop(key, None)
            for message in messages:
                message.properties.update(extra)
        return Prepared(messages, task_id, (args, kwargs, embed), options, parent)

    def _check_reach(self, name: str, route: Route) -> None:
        queues = self._app.queues
        if any(isinstance(queues.get(queue), Broadcast) for queue in route.queues):
            features = self._app.store.features
            if not features.exchanges:
                raise NotSupported(
                    f"task {name}: each worker has a queue of its own for the broadcast {route.exchange!r}, which "
                    f"nobody else knows of on {features.name}: send it over RabbitMQ, or make a command for "
                    "workers of it (app.control.broadcast)"
                )

    def _priority(self, options: Mapping[str, Any], parent: Frame | None) -> int:
        priority = options.get("priority")
        conf = self._app.conf
        if priority is None and parent is not None and conf.task_inherit_parent_priority:
            priority = (parent.request.delivery_info or NOTHING).get("priority")
        if priority is None:
            priority = conf.task_default_priority
        return 0 if priority is None else priority

    def _fields(self, options: Mapping[str, Any], parent: Frame | None, task_id: str) -> Any:
        """The headers that differ from their defaults."""
        fields: dict[str, Any] = {}
        root_id, parent_id = options.get("root_id"), options.get("parent_id")
        if parent is not None:
            request = parent.request
            root_id = root_id or request.root_id or request.id
            parent_id = parent_id or request.id
        fields["root_id"] = root_id or task_id
        if parent_id is not None:
            fields["parent_id"] = parent_id
        ignore = options.get("ignore_result")
        if ignore is None and (task := options.get("task_type")) is not None:
            ignore = task.ignore_result
        if ignore is not None:
            fields["ignore_result"] = ignore
        if not options:
            return fields
        for key in HEADERS:
            if (value := options.get(key)) is not None:
                fields[key] = value
        if (group := options.get("group_id")) is not None:
            fields["group"] = group
        hard, soft = options.get("time_limit"), options.get("soft_time_limit")
        if hard is not None or soft is not None:
            fields["timelimit"] = [hard, soft]
        if stamped := options.get("stamped_headers"):
            fields["stamped_headers"] = list(stamped)
            fields["stamps"] = {
                **(options.get("stamps") or NOTHING),
                **{key: options[key] for key in stamped if key in options},
            }
        return fields

    # -- publishing

    def _announce(self, prepared: Prepared) -> None:
        """Let receivers see and change what is about to be sent."""
        if not signals.before_task_publish.receivers:
            return
        args, kwargs, embed = prepared.call
        body = (list(args), dict(kwargs), cast(Embed, {**NO_EMBED, **embed}))
        # What receivers may change belongs to no form any more.
        prepared.messages[:] = _loose(prepared.messages)
        policy = prepared.options.get("retry_policy") or self._app.conf.task_publish_retry_policy
        for message in prepared.messages:
            signals.before_task_publish.send(
                sender=message.task or message.headers.get("task"),
                body=body,
                exchange=message.exchange,
                routing_key=message.routing_key,
                headers=message.headers,
                properties=message.properties,
                declare=[self._app.queues[message.queue]],
                retry_policy=policy,
            )
            if self._app.conf.task_protocol != 1:  # whose headers and body are one
                message.body, _ = encode_body(
                    body[0],
                    body[1],
                    codec=serializers.get(message.content_type),
                    compression=message.headers.get("compression"),
                    **body[2],
                )

    def _told(self, sent: Sequence[Prepared]) -> None:
        """Let receivers and monitors know what was sent."""
        if self._app.conf.task_send_sent_event:
            self._app.events.tell_sent([fields for prepared in sent for fields in _sent_events(prepared)])
        if signals.after_task_publish.receivers or signals.task_sent.receivers:
            for prepared in sent:
                _signal_sent(prepared)

    def _publish(self, messages: list[Message], options: Mapping[str, Any]) -> Callable[[], bool]:
        """Give the messages to the first outlet that takes them (False), else to the broker (True): what is returned
        waits until it has them."""
        if self._taken(len(self._app.outlets), messages, options):
            return lambda: False
        return Put(self._app, messages, options).finish

    def _taken(self, above: int, messages: list[Message], options: Mapping[str, Any]) -> bool:
        """Whether an outlet below this place in the list took them."""
        outlets = self._app.outlets
        return any(
            outlets[place].take(messages, partial(self._pass_on, place, messages, options))
            for place in range(min(above, len(outlets)) - 1, -1, -1)
        )

    def _pass_on(self, above: int, messages: list[Message], options: Mapping[str, Any]) -> None:
        """Go on with what the outlets from this place on have let go."""
        if not self._taken(above, messages, options):
            Put(self._app, messages, options).finish()

    def result(self, prepared: Prepared) -> AsyncResult[Any]:
        """The handle of a call; the task that runs here remembers it as its child."""
        options = prepared.options
        make = options.get("result_cls")
        result = make(prepared.id) if make is not None else AsyncResult(prepared.id, app=self._app)
        task = options.get("task_type")
        if task is not None and make is None:
            result._name = task.name
        if prepared.messages[0].headers.get("ignore_result"):
            result.ignored = True
        parent = prepared.parent
        if parent is not None and options.get("add_to_parent", True) and parent.task.trail:
            remember_child(parent.request, result)
        return result

    # -- many

    def alike(self, name: str, options: Mapping[str, Any]) -> tuple[Mapping[str, Any], Form | None]:
        """The options of a call with the defaults of its task, and the form of all that are like it."""
        task = self._app.registered(name)
        if task is not None:
            options = {**task.send_defaults, **options, "task_type": task}
        return options, self.forms.find(name, {key: options[key] for key in options if key not in _OWN})

    def call(self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Prepared:
        """Prepare one call with the defaults of its task, for ``begin``."""
        options, form = self.alike(name, options)
        return self.prepared(name, args, kwargs, options, form, Own(*map(options.get, Own._fields)))

    def begin(self, prepared: Sequence[Prepared], options: Mapping[str, Any] = NOTHING) -> Callable[[], bool]:
        """Begin to send what ``call`` or ``prepared`` made, all at once. What is returned waits until it is sent: False
        if an outlet has it now, and not the store."""
        for each in prepared:
            self._announce(each)
        sent = self._publish([message for each in prepared for message in each.messages], options)

        def finish() -> bool:
            stored = sent()
            self._told(prepared)
            return stored

        return finish


def _loose(messages: Sequence[Message]) -> list[Message]:
    return [message.loose() if isinstance(message, FilledForm) else message for message in messages]


def _signal_sent(prepared: Prepared) -> None:
    args, kwargs, embed = prepared.call
    for message in prepared.messages:
        name = message.task
        signals.after_task_publish.send(
            sender=name,
            body=(args, kwargs, embed),
            exchange=message.exchange,
            routing_key=message.routing_key,
            headers=message.headers,
        )
        signals.task_sent.send(
            sender=name,
            task_id=prepared.id,
            task=name,
            args=args,
            kwargs=kwargs,
            eta=message.headers.get("eta"),
            taskset=message.headers.get("group"),
            exchange=message.exchange,
            routing_key=message.routing_key,
            retries=message.headers.get("retries", 0),
        )


def _sent_events(prepared: Prepared) -> Iterator[dict[str, Any]]:
    """The fields of ``task-sent`` for each copy of a call."""
    task = prepared.options.get("task_type")
    if task is not None and not task.send_events:
        return
    for message in prepared.messages:
        headers = message.headers
        yield {
            "uuid": prepared.id,
            "root_id": headers.get("root_id"),
            "parent_id": headers.get("parent_id"),
            "name": message.task,
            "args": headers.get("argsrepr"),
            "kwargs": headers.get("kwargsrepr"),
            "retries": headers.get("retries", 0),
            "eta": headers.get("eta"),
            "expires": headers.get("expires"),
            "queue": message.queue,
            "exchange": message.exchange,
            "routing_key": message.routing_key,
        }
