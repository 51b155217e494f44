"""A page of the admin over what is no table: rows, a search, actions on the rows that are chosen, and forms.

Owns the way of a request: permissions, the action or the form, the list. Its subclasses in ``admin`` say what is shown.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import formats, timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from talo.app.app import Talo
from talo.errors import TaloError

__all__ = ["Action", "Form", "Page", "Row", "moment", "seconds"]

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


class Form(NamedTuple):
    """Something that is asked about before it is done, by who has the permission; ``run`` gets the row's key and what
    was filled in, and returns what to tell."""

    name: str
    label: Any
    permission: str
    fields: type[forms.Form]
    run: Callable[[Talo, str, dict[str, Any]], str]
    #: What stands in it at first.
    initial: Callable[[Talo, str], dict[str, Any]] | None = None
    #: It is about one row, else about the page; its key is empty then.
    of_row: bool = True


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
    """One list, with its forms. Rows are no objects of Django's: it adds and shows none."""

    columns: ClassVar[Sequence[Any]] = ()
    search: ClassVar[bool] = False

    def rows(self, app: Talo, words: str) -> Iterable[Row]:
        """What there is; ``words`` is what was searched for. Errors: the store's."""
        del app, words
        return ()

    def actions_of(self) -> Sequence[Action]:
        """What may be done here."""
        return ()

    def forms_of(self) -> Sequence[Form]:
        """What may be filled in here."""
        return ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        del request
        return False

    def get_urls(self) -> list[URLPattern]:
        """The list, under the name by which the admin finds it."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", self.admin_site.admin_view(self.changelist_view), name=f"{name}_changelist"),
            path("form/<slug:name>/", self.admin_site.admin_view(self.form_view), name=f"{name}_form"),
        ]

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
        may = [each for each in self.forms_of() if self._allowed(request, each)]
        context = {
            **self._context(request),
            "columns": self.columns,
            "rows": found,
            "search": self.search,
            "words": words,
            "actions": [each for each in self.actions_of() if self._allowed(request, each)],
            "row_forms": [each for each in may if each.of_row],
            "page_forms": [each for each in may if not each.of_row],
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/talo_django/page.html", context)

    def form_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask, or do what was filled in and go back to the list."""
        form = next((each for each in self.forms_of() if each.name == name), None)
        if form is None:
            raise Http404
        if not self.has_view_or_change_permission(request) or not self._allowed(request, form):
            raise PermissionDenied
        app: Talo = apps.get_app_config("talo_django").app
        key = request.GET.get("key", "")
        if form.of_row and not key:
            raise Http404
        if request.method == "POST":
            filled = form.fields(request.POST)
            if filled.is_valid() and self._filled(request, app, form, key, filled):
                return HttpResponseRedirect(self._list())
        else:
            try:
                filled = form.fields(initial=form.initial(app, key) if form.initial is not None else {})
            except TaloError as exc:
                messages.error(request, str(exc))
                return HttpResponseRedirect(self._list())
        context = {**self._context(request), "form": filled, "key": key, "label": form.label}
        return TemplateResponse(request, "admin/talo_django/form.html", context)

    def _filled(self, request: HttpRequest, app: Talo, form: Form, key: str, filled: forms.Form) -> bool:
        try:
            told = form.run(app, key, filled.cleaned_data)
        except (TaloError, ValueError, TypeError) as exc:
            filled.add_error(None, str(exc))
            return False
        self._told(request, form.name, told, [key] if key else [])
        return True

    def _list(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "opts": self.opts,
        }

    def _allowed(self, request: HttpRequest, action: Action | Form) -> bool:
        if action.permission == "add":
            # Of the model: ``has_add_permission`` speaks of Django's own form.
            return bool(request.user.has_perm(f"{self.opts.app_label}.add_{self.opts.model_name}"))
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
        self._told(request, action.name, told, keys)

    def _told(self, request: HttpRequest, name: str, told: str, keys: Sequence[str]) -> None:
        fields = {"action": f"admin {name}", "user": request.user.get_username(), "keys": keys}
        log.info("%s: %s (%s)", request.user.get_username(), told, self.opts.model_name, extra=fields)
        messages.success(request, told)
