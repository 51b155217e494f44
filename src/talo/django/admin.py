"""Pages of Django's admin: runs, tasks that wait, tasks, periodic tasks, dead letters, queues, workers.

Owns what each page shows and what may be done there, and with which permission (``view``; ``change``; ``delete``
for what cannot be undone). What it shows comes from the project's app, whatever store it has; how a page works is
``_admin_page``'s. Imported by the admin.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from talo.app.app import Talo
from talo.control.dead import DeadLetters
from talo.control.history import PATIENCE, found, history_of
from talo.control.queues import queue_stats
from talo.control.schedules import ScheduleControl
from talo.django._admin_forms import AddForm, CallForm, EditForm, RateForm, ReplayForm, SizeForm
from talo.django._admin_page import Action, Form, Page, Row, moment, seconds
from talo.django.models import DeadLetter, PeriodicTask, QueuePage, RunPage, TaskType, WaitingTask, WorkerPage
from talo.errors import NotSupported, TaloError
from talo.schedules.text import describe, from_data, to_text
from talo.stores.history import RunQuery

__all__: list[str] = []

#: Rows of a page, and messages that are looked at in each queue.
_ROWS = 100


@admin.register(RunPage)
class RunAdmin(Page):
    """What became of tasks, latest first; the search finds an id, a task's name or a part of an error."""

    columns = (_("task"), _("id"), _("state"), _("queue"), _("worker"), _("ended"), _("seconds"), _("error"))
    search = True

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        history = history_of(app)
        wishes = [RunQuery()] if not words else [RunQuery(id=words), RunQuery(name=words), RunQuery(text=words)]
        for wish in wishes:
            if runs := found(history, wish, _ROWS, patience=PATIENCE).runs:
                for run in runs:
                    cells = (run.name, run.id, run.state, run.queue, run.worker, moment(run.ended))
                    yield Row(run.id, (*cells, seconds(run.seconds), run.error or ""))
                return


@admin.register(WaitingTask)
class WaitingTaskAdmin(Page):
    """The next tasks of each queue, and those that workers hold."""

    columns = (_("task"), _("id"), _("queue"), _("where"), _("due"), _("arguments"))

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("revoke", _("Revoke"), "change", self._revoke),
            Action("stop", _("Revoke, and stop what runs"), "change", self._stop),
        )

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        broker = app.store.broker
        for owner in broker.owners():
            for delivery in broker.held(owner.owner) if owner.held else ():
                if delivery.message is not None:
                    yield self._row(delivery.message, owner.worker)
        if not app.store.features.peek:
            return
        for queue in broker.stats():
            for delayed, name in ((False, _("ready")), (True, _("delayed"))):
                for message in broker.peek(queue.name, _ROWS, delayed=delayed):
                    yield self._row(message, name)

    @staticmethod
    def _row(message: Any, where: Any) -> Row:
        arguments = f"{message.headers.get('argsrepr') or ''} {message.headers.get('kwargsrepr') or ''}"
        cells = (message.task, message.id, message.queue, where, moment(message.due), arguments)
        return Row(message.id or "", cells)

    @staticmethod
    def _revoke(app: Talo, ids: Sequence[str], terminate: bool = False) -> str:
        app.control.revoke(list(ids), terminate=terminate)
        return ngettext("%d task revoked", "%d tasks revoked", len(ids)) % len(ids)

    def _stop(self, app: Talo, ids: Sequence[str]) -> str:
        return self._revoke(app, ids, terminate=True)


@admin.register(TaskType)
class TaskTypeAdmin(Page):
    """The tasks of the project."""

    columns = (_("task"), _("paused"), _("rate limit"))

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("pause", _("Pause"), "change", lambda app, names: self._steer(app, names, "pause")),
            Action("resume", _("Resume"), "change", lambda app, names: self._steer(app, names, "resume")),
        )

    def forms_of(self) -> Sequence[Form]:
        return (
            Form("run", _("Run now"), "change", CallForm, self._run),
            Form("limit", _("Limit the rate"), "change", RateForm, self._limit, self._rate),
        )

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        app.import_default_modules()
        paused = _paused(app)[1]
        own = {name for name in app.tasks if not name.startswith(("celery.", "talo."))}
        for name in sorted(own | set(paused)):
            limit = getattr(app.tasks.get(name), "rate_limit", None)
            yield Row(name, (name, _("yes") if name in paused else _("no"), limit))

    @staticmethod
    def _steer(app: Talo, names: Sequence[str], verb: str) -> str:
        getattr(app.control, verb)(tasks=list(names))
        return ngettext("%d task changed", "%d tasks changed", len(names)) % len(names)

    @staticmethod
    def _run(app: Talo, name: str, given: dict[str, Any]) -> str:
        app.import_default_modules()
        options = {each: given[each] for each in ("queue", "countdown") if given[each] not in (None, "")}
        task = app.tasks.get(name)
        if task is None:
            raise TaloError(gettext("The project has no task %s") % name)
        # With the task's own checks of its arguments.
        return gettext("Sent as %s") % task.apply_async(given["args"] or (), given["kwargs"] or {}, **options).id

    @staticmethod
    def _rate(app: Talo, name: str) -> dict[str, Any]:
        return {"rate": getattr(app.tasks.get(name), "rate_limit", None) or ""}

    @staticmethod
    def _limit(app: Talo, name: str, given: dict[str, Any]) -> str:
        return _answered(app.control.rate_limit(name, given["rate"], reply=True))


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(Page):
    """Schedules of the project's beat."""

    columns = (_("name"), _("task"), _("schedule"), _("enabled"), _("last run"), _("next run"), _("runs"))

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("run", _("Run now"), "change", lambda app, ids: self._each(app, ids, "run_now")),
            Action("pause", _("Pause"), "change", lambda app, ids: self._each(app, ids, "pause")),
            Action("resume", _("Resume"), "change", lambda app, ids: self._each(app, ids, "resume")),
            Action("remove", _("Remove"), "delete", lambda app, ids: self._each(app, ids, "remove")),
        )

    def forms_of(self) -> Sequence[Form]:
        return (
            Form("add", _("Add periodic task"), "add", AddForm, self._add, of_row=False),
            Form("edit", _("Edit"), "change", EditForm, self._edit, self._editable),
        )

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        for each in ScheduleControl(app).list():
            plan = each.definition.schedule
            shown = describe(from_data(plan, app)) if plan else "?"
            cells = (each.name, each.definition.task, shown, _("yes") if each.enabled else _("no"))
            yield Row(each.name, (*cells, moment(each.last_run), moment(each.next_run), each.total))

    @staticmethod
    def _each(app: Talo, names: Sequence[str], verb: str) -> str:
        schedules = ScheduleControl(app)
        for name in names:
            getattr(schedules, verb)(name)
        return ngettext("%d periodic task changed", "%d periodic tasks changed", len(names)) % len(names)

    @staticmethod
    def _add(app: Talo, _key: str, given: dict[str, Any]) -> str:
        name, task, line = (given.pop(each) for each in ("name", "task", "schedule"))
        ScheduleControl(app).add(name, task, line, **_filled(given))
        return gettext("%s is added") % name

    @staticmethod
    def _editable(app: Talo, name: str) -> dict[str, Any]:
        found = ScheduleControl(app).get(name).definition
        return {
            "schedule": to_text(found.schedule),
            "timezone": (found.schedule or {}).get("tz", ""),
            "args": found.args,
            "kwargs": found.kwargs,
            "queue": found.options.get("queue", ""),
        }

    @staticmethod
    def _edit(app: Talo, name: str, given: dict[str, Any]) -> str:
        ScheduleControl(app).edit(name, **_filled(given))
        return gettext("%s is changed") % name


@admin.register(DeadLetter)
class DeadLetterAdmin(Page):
    """Dead letters, latest first; the search is for a task's name."""

    columns = (_("task"), _("id"), _("queue"), _("reason"), _("text"), _("died"), _("deliveries"))
    search = True

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("replay", _("Replay"), "change", self._replay),
            Action("drop", _("Delete"), "delete", self._drop),
        )

    def forms_of(self) -> Sequence[Form]:
        return (Form("edit", _("Edit and replay"), "change", ReplayForm, self._replay_edited, self._editable),)

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        for letter in _letters(app).list(task=words or None, limit=_ROWS):
            death = letter.death
            cells = (death.task, death.task_id, letter.queue, death.reason, death.text, moment(letter.died))
            yield Row(letter.id, (*cells, letter.deliveries))

    @staticmethod
    def _replay(app: Talo, ids: Sequence[str]) -> str:
        found = list(_letters(app).replay(ids))
        done = sum(each.fault is None for each in found)
        faults = "; ".join(f"{each.letter}: {each.fault}" for each in found if each.fault is not None)
        text = ngettext("%d dead letter replayed", "%d dead letters replayed", done) % done
        return f"{text}; {faults}" if faults else text

    @staticmethod
    def _editable(app: Talo, key: str) -> dict[str, Any]:
        letters = _letters(app)
        found = [letters.editable(letter) for letter in letters.get([key])]
        if not found or found[0] is None:
            raise TaloError(gettext("This dead letter is gone, or makes no task"))
        # The fields show JSON of what they are given.
        texts = {name: text for name in ("args", "kwargs") if (text := found[0][name]) is not None}
        return {"queue": found[0]["queue"], **{name: json.loads(text) for name, text in texts.items()}}

    @staticmethod
    def _replay_edited(app: Talo, key: str, given: dict[str, Any]) -> str:
        done = _letters(app).replay_edited(key, **_filled(given))
        if done.fault is not None:
            raise TaloError(done.fault)
        return gettext("Replayed as %s") % done.task_id

    @staticmethod
    def _drop(app: Talo, ids: Sequence[str]) -> str:
        done = _letters(app).drop(ids)
        return ngettext("%d dead letter deleted", "%d dead letters deleted", done) % done


@admin.register(QueuePage)
class QueueAdmin(Page):
    """Queues with their numbers."""

    columns = (_("queue"), _("ready"), _("delayed"), _("at work"), _("waiting since (s)"), _("paused"))

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("pause", _("Pause"), "change", lambda app, ids: self._steer(app, ids, "pause")),
            Action("resume", _("Resume"), "change", lambda app, ids: self._steer(app, ids, "resume")),
            Action("purge", _("Purge: delete all that waits"), "delete", self._purge),
        )

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        paused = _paused(app)[0]
        for each in queue_stats(app):
            shown = _("yes") if each.name in paused else _("no")
            cells = (each.name, each.ready, each.delayed, each.leased, seconds(each.oldest), shown)
            yield Row(each.name, cells)

    @staticmethod
    def _steer(app: Talo, names: Sequence[str], verb: str) -> str:
        getattr(app.control, verb)(*names)
        return ngettext("%d queue changed", "%d queues changed", len(names)) % len(names)

    @staticmethod
    def _purge(app: Talo, names: Sequence[str]) -> str:
        done = app.control.purge_queues(list(names))
        return ngettext("%d message deleted", "%d messages deleted", done) % done


@admin.register(WorkerPage)
class WorkerAdmin(Page):
    """Workers, as their leases tell of them."""

    columns = (_("worker"), _("tasks at a time"), _("tasks it holds"), _("lease ends in (s)"))

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("quiet", _("Fetch nothing more"), "change", self._quiet),
            Action("stop", _("Stop, after what runs"), "delete", self._stop),
        )

    def forms_of(self) -> Sequence[Form]:
        return (Form("size", _("Resize"), "change", SizeForm, self._resize),)

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        workers: dict[str, list[Any]] = {}
        for each in app.store.broker.owners():
            found = workers.setdefault(each.worker, [0, 0, each.remaining])
            found[0] += each.slots
            found[1] += each.held
            found[2] = min(found[2], each.remaining)
        for name, (slots, held, remaining) in sorted(workers.items()):
            yield Row(name, (name, slots, held, seconds(remaining)))

    @staticmethod
    def _quiet(app: Talo, names: Sequence[str]) -> str:
        queues = app.control.inspect(destination=list(names)).active_queues() or {}
        for name, consumed in queues.items():
            for each in consumed:
                app.control.cancel_consumer(each["name"], destination=[name])
        return ngettext("%d worker told", "%d workers told", len(queues)) % len(queues)

    @staticmethod
    def _stop(app: Talo, names: Sequence[str]) -> str:
        app.control.shutdown(destination=list(names))
        return ngettext("%d worker told", "%d workers told", len(names)) % len(names)

    @staticmethod
    def _resize(app: Talo, name: str, given: dict[str, Any]) -> str:
        change = app.control.pool_grow if given["by"] > 0 else app.control.pool_shrink
        return _answered(change(abs(given["by"]), destination=[name], reply=True))


def _paused(app: Talo) -> tuple[Sequence[str], Sequence[str]]:
    """The queues and the tasks that are paused."""
    return app.control.paused() if app.state_store is not None else ((), ())


def _filled(given: dict[str, Any]) -> dict[str, Any]:
    """What was filled in; an empty list or object is something."""
    return {name: value for name, value in given.items() if value not in (None, "")}


def _answered(replies: Any) -> str:
    """What workers said. ``NotSupported`` if none did, ``TaloError`` with the fault if all of them refuse."""
    answers = [answer for reply in replies or () for answer in reply.values()]
    faults = [answer["error"] for answer in answers if answer.get("error")]
    if not answers:
        raise NotSupported(gettext("No worker answers"))
    if len(faults) == len(answers):
        raise TaloError(faults[0])
    done = len(answers) - len(faults)
    return ngettext("%d worker told", "%d workers told", done) % done


def _letters(app: Talo) -> DeadLetters:
    return DeadLetters.of(app)
