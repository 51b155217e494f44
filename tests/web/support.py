"""What the dashboard's tests share: a client without a network, and history as settlements leave it."""

from __future__ import annotations

import itertools
import time
from typing import Any

import httpx

from talo import Talo
from talo.app.app import Talo as App
from talo.stores.base import Death, Settlement, Verdict
from talo.stores.history import RunRecord
from talo.web import Access, Dashboard

__all__ = ["Client", "access_of", "dead", "ended", "shop"]

_numbers = itertools.count()


class Client(httpx.AsyncClient):
    """Speaks ASGI to a dashboard as a browser of this machine would, or as somebody elsewhere."""

    def __init__(self, dashboard: Any, *, peer: str = "127.0.0.1", base: str = "http://127.0.0.1:5555", **more: Any):
        transport = httpx.ASGITransport(dashboard, client=(peer, 50000), raise_app_exceptions=False)
        super().__init__(transport=transport, base_url=base, **more)

    async def page(self, path: str, **more: Any) -> httpx.Response:
        """As a person asks."""
        return await self.get(path, headers={"accept": "text/html"}, **more)

    async def token(self, path: str = "/help") -> str:
        """The forgery token of this session."""
        text = (await self.page(path)).text
        return text.partition('name="csrf" value="')[2].partition('"')[0]

    async def log_in(self, name: str, password: str) -> httpx.Response:
        """By the form."""
        fields = {"name": name, "password": password, "csrf": await self.token("/login")}
        return await self.post("/login", data=fields, headers={"accept": "text/html"})


def shop(broker: str, **settings: Any) -> App:
    """An app that knows one task. ``memory://`` is a store of its own."""
    if broker == "memory://":
        broker += f"web-{next(_numbers)}"
    app = Talo("shop", broker=broker, set_as_current=False, **settings)
    app.task(name="shop.add")(lambda x=0, y=0: x + y)
    return app


def dashboard_of(app: App, access: Access | None = None, **more: Any) -> Dashboard:
    return Dashboard(app, access=access, **more)


def access_of(**roles: str) -> Access:
    """Users whose passwords are ``NAME-secret``, and a token each: ``NAME-token``."""
    from talo.web.access import Password, Token
    from talo.web.passwords import hash_password, hash_token

    return Access(
        users={name: Password(password=hash_password(f"{name}-secret"), role=role) for name, role in roles.items()},
        tokens={name: Token(hash=hash_token(f"{name}-token"), role=role) for name, role in roles.items()},
    )


def ended(app: App, number: int = 1, **fields: Any) -> list[RunRecord]:
    """Runs that have ended."""
    assert app.store.history is not None
    now = time.time()
    told = {"name": "shop.add", "queue": "celery", "state": "SUCCESS", "worker": "w1@shop", "keep": 3600.0} | fields
    runs = [
        RunRecord(
            **{
                "id": f"run-{at}",
                "ended": now - at,
                "seconds": 0.25,
                "waited": 0.05,
                "sent": now - at - 0.3,
                "args": "(1, 2)",
                "kwargs": "{}",
            }
            | told
        )
        for at in range(number)
    ]
    app.store.history.record(runs)
    return runs


def dead(
    app: App,
    number: int = 1,
    *,
    args: Any = (1, 2),
    name: str = "shop.add",
    error: str = "ValueError: no",
    **options: Any,
) -> list[str]:
    """Messages that died, by the settlement that a worker would make; their task ids."""
    ids = [app.send_task(name, args, **options).id for _ in range(number)]
    broker = app.store.broker
    broker.open("t", worker="w1@shop", slots=1, lease=60)
    queue = options.get("queue", "celery")
    while deliveries := broker.turn([], "t", [queue], 500).deliveries:
        settlements = [
            Settlement(
                lease=each.lease,
                verdict=Verdict.DEAD,
                death=Death(
                    reason="failed",
                    text=error,
                    task_id=each.message.id if each.message else None,
                    task=each.message.task if each.message else None,
                    detail={"traceback": f"Traceback ...\n{error}", "worker": "w1@shop"},
                ),
            )
            for each in deliveries
        ]
        assert broker.settle(settlements) == []
    broker.close_owner("t")
    return ids
