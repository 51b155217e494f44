"""A page of the admin over what is no table: rows, a search, and actions on the rows that are chosen.

Owns the way of a request: permissions, the action, the list. Its subclasses in ``admin`` say what is shown.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import formats, timezone
from django.utils.translation import gettext as _

from talo.app.app import Talo
from talo.errors import TaloError

__all__ = ["Action", "Page", "Row", "moment", "seconds"]

log = logging.getLogger("talo.django")


class Row(NamedTuple):
    """One line; ``key`` is what an action gets."""

    key: str
    cells: Sequence[Any]


class Action(NamedTuple):
    """Something that may be done with chosen rows by who has the permission; ``run`` returns what to tell."""

    name: str
    label: Any
    permission: str
    run: Callable[[Talo, Sequence[str]], str]


def moment(at: float | None) -> str:
    """Epoch seconds as the admin writes times; empty for None."""
    if at is None:
        return ""
    aware = dt.datetime.fromtimestamp(at, dt.UTC)
    shown: str = formats.date_format(timezone.localtime(aware), "DATETIME_FORMAT")
    return shown


def seconds(span: float | None) -> str:
    """Seconds, to the millisecond; empty for None."""
    return "" if span is None else f"{span:.3f}"


class Page(admin.ModelAdmin):
    """One list. Nothing is added, and no row has a page of its own."""

    columns: ClassVar[Sequence[Any]] = ()
    search: ClassVar[bool] = False

    def rows(self, app: Talo, words: str) -> Iterable[Row]:
        """What there is; ``words`` is what was searched for. Errors: the store's."""
        del app, words
        return ()

    def actions_of(self) -> Sequence[Action]:
        """What may be done here."""
        return ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        del request
        return False

    def get_urls(self) -> list[URLPattern]:
        """The list, under the name by which the admin finds it."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(self.changelist_view), name=name)]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list, or do an action and come back."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        app: Talo = apps.get_app_config("talo_django").app
        if request.method == "POST":
            self._act(request, app)
            return HttpResponseRedirect(request.get_full_path())
        words = request.GET.get("q", "").strip() if self.search else ""
        found: list[Row] = []
        try:
            found = list(self.rows(app, words))
        except TaloError as exc:
            messages.error(request, str(exc))
        context = {
            **self.admin_site.each_context(request),
            "title": str(self.opts.verbose_name_plural).capitalize(),
            "opts": self.opts,
            "columns": self.columns,
            "rows": found,
            "search": self.search,
            "words": words,
            "actions": [each for each in self.actions_of() if self._allowed(request, each)],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/talo_django/page.html", context)

    def _allowed(self, request: HttpRequest, action: Action) -> bool:
        return bool(getattr(self, f"has_{action.permission}_permission")(request))

    def _act(self, request: HttpRequest, app: Talo) -> None:
        action = next((each for each in self.actions_of() if each.name == request.POST.get("action")), None)
        if action is None:
            messages.warning(request, _("No action selected."))
            return
        if not self._allowed(request, action):
            raise PermissionDenied
        keys = request.POST.getlist("key")
        if not keys:
            messages.warning(request, _("Nothing was selected."))
            return
        try:
            told = action.run(app, keys)
        except TaloError as exc:
            messages.error(request, str(exc))
            return
        fields = {"action": f"admin {action.name}", "user": request.user.get_username(), "keys": keys}
        log.info("%s: %s (%s)", request.user.get_username(), told, self.opts.model_name, extra=fields)
        messages.success(request, told)
