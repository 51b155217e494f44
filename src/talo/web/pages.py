"""The pages: a template over the facts of one operation each.

Owns which pages there are, their order in the navigation, and what a page gets beside its facts. Facts and actions are
``operations``'."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from talo.errors import TaloError
from talo.web.answering import fault_of, page, refusal
from talo.web.api import Endpoint, arguments_of, perform
from talo.web.desk import Desk
from talo.web.operation import Operation
from talo.web.operations import TABLE
from talo.web.user import Role

__all__ = ["PAGES", "Page", "page_endpoint"]


class Page(NamedTuple):
    """One page. ``nav`` is its name in the navigation, ``section`` the page it belongs to there."""

    path: str
    template: str
    operation: str
    title: str
    section: str
    #: The key that leads there after ``g``.
    key: str = ""
    #: Arguments that the page asks with.
    also: tuple[tuple[str, str], ...] = ()

    @property
    def nav(self) -> bool:
        """Whether it stands in the navigation itself."""
        return self.path == self.section


PAGES: tuple[Page, ...] = (
    Page("/", "overview.html", "overview", "Overview", "/", "o"),
    Page("/runs", "runs.html", "runs", "Runs", "/runs", "r", (("quick", "true"),)),
    Page("/tasks", "tasks.html", "tasks", "Tasks", "/tasks", "t"),
    Page("/queues", "queues.html", "queues", "Queues", "/queues", "q"),
    Page("/workers", "workers.html", "workers", "Workers", "/workers", "w"),
    Page("/schedules", "schedules.html", "schedules", "Schedules", "/schedules", "s"),
    Page("/workflows", "workflows.html", "workflows", "Workflows", "/workflows", "l"),
    Page("/failures", "failures.html", "failures", "Failures", "/failures", "f"),
    Page("/dead", "dead.html", "dead_letters", "Dead letters", "/dead", "d"),
    Page("/configuration", "configuration.html", "configuration", "Configuration", "/configuration", "c"),
    Page("/audit", "audit.html", "audit_log", "Audit log", "/audit", "a"),
    Page("/run", "run.html", "run", "Run", "/runs"),
    Page("/explain", "explain.html", "explain", "Explain", "/runs"),
    Page("/runs/bulk", "bulk.html", "bulk", "All matches", "/runs"),
    Page("/queue", "queue.html", "waiting", "Queue", "/queues"),
    Page("/schedule", "schedule.html", "schedule", "Schedule", "/schedules"),
    Page("/workflow", "workflow.html", "workflow", "Workflow", "/workflows"),
    Page("/dead/letter", "letter.html", "dead_letter", "Dead letter", "/dead"),
)

_OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in TABLE}


def page_endpoint(each: Page, desk: Desk) -> Endpoint:
    """Return what answers a page's route."""
    operation = _OPERATIONS[each.operation]

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(_answer, each, operation, desk, request)

    return answer


def _answer(each: Page, operation: Operation, desk: Desk, request: Request) -> Response:
    query = request.query_params
    around = _around(each, desk, request)
    try:
        given = {name: query.getlist(name) for name in query} | {name: [value] for name, value in each.also}
        arguments = arguments_of(operation, given)
        facts = perform(operation, desk, request, arguments)
    except (TaloError, msgspec.ValidationError) as error:
        return refusal(request, *fault_of(error), **around)
    except PermissionError as error:
        return refusal(request, 403, str(error), **around)
    return page(request, each.template, title=each.title, f=facts, **around)


def _around(each: Page, desk: Desk, request: Request) -> dict[str, Any]:
    user = request.state.user
    return {
        "section": each.section,
        "pages": [one for one in PAGES if one.nav and user.may(_OPERATIONS[one.operation].role)],
        "operator": user.may(Role.OPERATOR),
        "admin": user.may(Role.ADMIN),
        "store": desk.app.store.url,
        "app_name": desk.app.main or "default",
    }
