"""``talo dashboard``: serve the dashboard, by uvicorn.

Owns options, the refusal to be open to others, and making passwords and tokens for the access file. The dashboard is
``talo.web``. Called by ``cli.main``."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from typing import Any

import click

from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed, Refused
from talo.cli._session import Session
from talo.util.optional import load
from talo.util.process import root_warning

__all__ = ["dashboard"]

_PASSWORD, _SECRET = "TALO_DASHBOARD_PASSWORD", "TALO_DASHBOARD_SECRET"
#: Everything that the extra brings: the first that is missing names it.
_NEEDED = (("starlette", "starlette"), ("uvicorn", "uvicorn"), ("jinja2", "Jinja2"), ("itsdangerous", "itsdangerous"))


@click.command(cls=TaloCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=5555, show_default=True, help="0: any free one.")
@click.option(
    "--auth",
    metavar="FILE",
    envvar="TALO_DASHBOARD_AUTH",
    show_envvar=True,
    help="The access file: who may come in, and what each may do.",
)
@click.option("--audit", metavar="FILE", default="talo-audit.jsonl", show_default=True, help="Who changed what.")
@click.option("--root-path", metavar="PATH", default="", help="Where a reverse proxy serves it, such as /talo.")
@click.option("--certfile", metavar="FILE", help="Serve HTTPS with this certificate.")
@click.option("--keyfile", metavar="FILE", help="Its key.")
@click.option("--make-password", metavar="NAME", help="Ask for a password and print its entry for the access file.")
@click.option("--make-token", metavar="NAME", help="Make a token and print it with its entry for the access file.")
@click.pass_obj
def dashboard(session: Session, /, host: str, port: int, auth: str | None, **options: Any) -> None:
    """Serve the dashboard.

    Without --auth it is open, so it listens on this machine only. TALO_DASHBOARD_PASSWORD makes one administrator
    (admin) with this password; TALO_DASHBOARD_SECRET signs the cookies, so that logins outlive a restart.
    """
    for module, package in _NEEDED:
        load(module, package, "web")
    if options["make_password"]:
        _make_password(options["make_password"])
        return
    if options["make_token"]:
        _make_token(options["make_token"])
        return
    web = load("talo.web", "starlette", "web")
    access = _access(web, auth)
    if access.open and not _is_loopback(host):
        raise Refused(
            f"--host {host}: others can reach it and nobody has to log in; name an access file with --auth, or set "
            f"{_PASSWORD}"
        )
    with session.opened() as app:
        app.import_default_modules()
        app.finalize()
        made = web.Dashboard(app, access=access, audit=options["audit"], secret=os.environ.get(_SECRET))
        _serve(session, made, host, port, options)


def _access(web: Any, auth: str | None) -> Any:
    password = os.environ.get(_PASSWORD)
    if auth is not None and password:
        raise Refused(f"{_PASSWORD} and --auth are two rules: keep one")
    if auth is not None:
        return web.Access.read(auth)
    return web.Access.of_password(password) if password else web.Access()


def _serve(session: Session, made: Any, host: str, port: int, options: dict[str, Any]) -> None:
    listening = _listen(host, port)
    if (warning := root_warning("dashboard")) is not None:
        click.echo(warning, err=True)
    scheme = "https" if options["certfile"] else "http"
    shown = f"[{host}]" if ":" in host else host
    if not session.quiet:
        click.echo(f"Dashboard: {scheme}://{shown}:{listening.getsockname()[1]}{options['root_path']}/")
        click.echo(f"  tasks in {made.app.store.url}; audit log in {options['audit']}; {made.access}")
    uvicorn = load("uvicorn", "uvicorn", "web")
    config = uvicorn.Config(
        made,
        log_level="warning",
        # Who speaks to us is who connects. A proxy's word about it is taken only by access.proxy, from the trusted.
        proxy_headers=False,
        server_header=False,
        root_path=options["root_path"].rstrip("/"),
        ssl_certfile=options["certfile"],
        ssl_keyfile=options["keyfile"],
        timeout_graceful_shutdown=2,
        limit_concurrency=512,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Failed(f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make_password(name: str) -> None:
    password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    passwords = load("talo.web.passwords")
    click.echo(f'[users.{_key(name)}]\nrole = "viewer"\npassword = "{passwords.hash_password(password)}"')


def _make_token(name: str) -> None:
    passwords = load("talo.web.passwords")
    token = passwords.new_token()
    click.echo(f"Token, shown only now: {token}", err=True)
    click.echo(f'[tokens.{_key(name)}]\nrole = "viewer"\nhash = "{passwords.hash_token(token)}"')


def _key(name: str) -> str:
    """A name as a key of TOML."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return name
    if not name.isprintable():
        raise Refused("a name is printable text")
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
