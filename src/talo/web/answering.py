"""Answers of every kind: pages, facts as JSON, refusals in the form that the asker understands.

Owns whether it is a browser, and how an error is told to it. Called by ``guard``, ``api``, ``pages``, ``login``."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from talo.errors import NotSupported, OperationalError, TaloError
from talo.settings.secret import hide_password
from talo.web.operation import NotFound, Unacceptable
from talo.web.templating import environment, fingerprint

__all__ = ["as_json", "fault_of", "page", "redirect", "refusal", "wants_page"]

_environment = environment()
_titles = {
    400: "Not understood",
    401: "Log in",
    403: "Not allowed",
    404: "Not found",
    409: "Not possible here",
    413: "Too long",
    422: "Not possible",
    429: "Too many tries",
    500: "Something broke",
    503: "The store is away",
}
#: Of static files, for their addresses.
_version = fingerprint()


def wants_page(request: Request) -> bool:
    """Whether a person with a browser asks: for a page, or with the form of one."""
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return "text/html" in request.headers.get("accept", "") and (form or "/api/" not in request.url.path)


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Render a page. With the tag of what the asker has: 304 and nothing else."""
    session = request.state.session
    user = getattr(request.state, "user", None)
    text = _environment.get_template(template).render(
        user=user,
        csrf=session.token,
        told=session.told(),
        root=request.scope.get("root_path", ""),
        here=_here(request),
        version=_version,
        live=request.scope.get("talo.live", True),
        **values,
    )
    response = HTMLResponse(text, status_code=status)
    if status == 200:
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        response.headers["etag"] = tag
    return response


def _here(request: Request) -> str:
    """The address of this page, to come back to; the start where a form was sent."""
    if request.method != "GET":
        return f"{request.scope.get('root_path', '')}/"
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def as_json(facts: Any, status: int = 200) -> Response:
    """Facts as JSON."""
    return Response(msgspec.json.encode(facts, enc_hook=str), status_code=status, media_type="application/json")


def refusal(request: Request, status: int, text: str, **around: Any) -> Response:
    """Say no: a page to people, with what stands ``around`` it, a problem (RFC 9457) to programs."""
    if wants_page(request):
        if status == 401:
            return page(request, "login.html", 401, title="Log in", **login_values(request, None))
        return page(request, "error.html", status, title=_titles.get(status, "No"), text=text, code=status, **around)
    problem = {"title": _titles.get(status, "No"), "status": status, "detail": text}
    response = as_json(problem, status)
    response.headers["content-type"] = "application/problem+json"
    if status == 401:
        response.headers["www-authenticate"] = 'Bearer realm="talo"'
    return response


def login_values(request: Request, fault: str | None) -> dict[str, Any]:
    """What the page of the login shows."""
    access = request.scope["talo.access"]
    return {
        "fault": fault,
        "passwords": bool(access.users),
        "provider": access.oidc.name if access.oidc is not None else None,
        "next": request.query_params.get("next") or _here(request),
    }


def redirect(request: Request, to: str | None) -> Response:
    """Send a browser to a page of ours; anything else leads to the start."""
    root = request.scope.get("root_path", "")
    inside = bool(to) and to is not None and to.startswith(f"{root}/") and not to.startswith("//") and "\\" not in to
    clean = to if inside and to is not None and all(c.isprintable() for c in to) else f"{root}/"
    return RedirectResponse(clean, status_code=303)


def fault_of(error: Exception) -> tuple[int, str]:
    """(status, one line) of an error that an operation raised."""
    text = hide_password(" ".join(str(error).split())) or type(error).__name__
    for kinds, status in (
        ((NotFound,), 404),
        ((Unacceptable, msgspec.ValidationError), 422),
        ((NotSupported,), 409),
        ((OperationalError,), 503),
        ((TaloError,), 409),
    ):
        if isinstance(error, kinds):
            return status, text
    return 500, "the dashboard's log tells what"
