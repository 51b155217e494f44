"""The dashboard inside a Django site, for staff.

Owns the view that hands requests over, and who may do what: superusers are administrators, other staff operators. Works
under WSGI and ASGI. Used in a site's ``urls.py``::

    path("talo/", include(talo.web.django.urls(Dashboard(app))))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path, reverse
from django.urls.exceptions import NoReverseMatch
from django.views.decorators.csrf import csrf_exempt

from talo.web.dashboard import Dashboard
from talo.web.user import Role, User
from talo.web.wsgi import answer_once, scope_of

__all__ = ["role_of_staff", "urls"]


def role_of_staff(user: Any) -> Role | None:
    """Administrator for a superuser, operator for other active staff, None for everybody else."""
    if not (user.is_active and user.is_staff):
        return None
    return Role.ADMIN if user.is_superuser else Role.OPERATOR


def urls(dashboard: Dashboard, role: Callable[[Any], Role | None] = role_of_staff) -> list[URLPattern]:
    """Return the patterns to be included. ``role`` tells from Django's user what one may do; None: nothing."""

    def view(request: HttpRequest, path: str) -> HttpResponseBase:
        someone: Any = getattr(request, "user", None)
        if someone is None or not someone.is_authenticated:
            return redirect_to_login(request.get_full_path(), _login())
        granted = role(someone)
        if granted is None:
            raise PermissionDenied
        user = User(name=someone.get_username(), role=granted, via="django")
        root = request.path[: len(request.path) - len(path)].rstrip("/")
        scope = {**scope_of(request.META), "path": request.path, "root_path": root, "scheme": request.scheme}
        answer = answer_once(dashboard, scope, request.body, user)
        response = HttpResponse(answer.body, status=answer.status)
        del response["Content-Type"]
        for name, value in answer.headers:
            if name == "set-cookie":
                response.cookies.load(value)
            else:
                response[name] = value
        return response

    # The dashboard checks where a change comes from by itself, with a token of its own.
    return [re_path(r"^(?P<path>.*)$", csrf_exempt(view), name="talo-dashboard")]


def _login() -> str | None:
    """The admin's login where there is one; else the site's."""
    try:
        return str(reverse("admin:login"))
    except NoReverseMatch:
        return None
