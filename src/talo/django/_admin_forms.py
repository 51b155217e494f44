"""What the admin's forms ask for: calls of tasks, and periodic tasks.

Owns the fields; what is done with them is ``admin``'s.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

__all__ = ["AddForm", "CallForm", "EditForm", "RateForm", "ReplayForm", "SizeForm"]


def _json(label: Any, kind: type, help_text: Any) -> forms.JSONField:
    def of_kind(value: Any) -> None:
        if type(value) is not kind:
            raise ValidationError(help_text)

    area = forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"})
    return forms.JSONField(label=label, required=False, validators=[of_kind], help_text=help_text, widget=area)


def _text(label: Any, help_text: Any = "", *, required: bool = False) -> forms.CharField:
    field = forms.TextInput(attrs={"class": "vTextField"})
    return forms.CharField(label=label, required=required, help_text=help_text, widget=field)


class _ArgumentsForm(forms.Form):
    args = _json(_("arguments"), list, _("A JSON list. Empty: as they are."))
    kwargs = _json(_("keyword arguments"), dict, _("A JSON object. Empty: as they are."))
    queue = _text(_("queue"), _("Empty: as it is."))


class CallForm(_ArgumentsForm):
    """One call of a task."""

    args = _json(_("arguments"), list, _("A JSON list."))
    kwargs = _json(_("keyword arguments"), dict, _("A JSON object."))
    queue = _text(_("queue"), _("Empty: as it is routed."))
    countdown = forms.FloatField(label=_("in so many seconds"), required=False, min_value=0)


class ReplayForm(_ArgumentsForm):
    """A new run of a dead letter. What was secret, or is no JSON, is not shown."""


class EditForm(_ArgumentsForm):
    """A periodic task, to be changed."""

    field_order = ("schedule", "timezone")
    schedule = _text(_("schedule"), _("For example 0 3 * * * or every 30s. Empty: as it is."))
    timezone = _text(_("time zone"), _("Empty: as it is."))


class AddForm(_ArgumentsForm):
    """A new periodic task."""

    field_order = ("name", "task", "schedule", "timezone")
    name = _text(_("name"), required=True)
    task = _text(_("task"), required=True)
    schedule = _text(_("schedule"), _("For example 0 3 * * * or every 30s."), required=True)
    timezone = _text(_("time zone"))
    args = _json(_("arguments"), list, _("A JSON list."))
    kwargs = _json(_("keyword arguments"), dict, _("A JSON object."))
    queue = _text(_("queue"), _("Empty: as it is routed."))


class RateForm(forms.Form):
    """How often tasks of a type may start on each worker."""

    rate = _text(_("rate"), _("For example 10/s, 100/m or 5/h, for each worker. 0: no limit."), required=True)


class SizeForm(forms.Form):
    """A change of a pool's size."""

    by = forms.IntegerField(label=_("processes more, or fewer"), min_value=-100, max_value=100)
