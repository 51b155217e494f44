"""A FastAPI service that hands off slow letters, tells how far they are, and never holds its event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from talo import Talo
from talo.fastapi import TaloDep, lifespan, status_router

talo = Talo("letters")


@talo.task(bind=True)
async def write_letters(self: Any, names: list[str]) -> list[str]:
    """Writes one letter after the other."""
    letters = []
    for name in names:
        await asyncio.sleep(0.2)
        letters.append(f"Dear {name}, yours Talo")
        self.update_state(state="PROGRESS", meta={"done": len(letters), "of": len(names)})
    return letters


class Order(BaseModel):
    """What a client wants."""

    names: list[str]


class Accepted(BaseModel):
    """Where it is told how far that is."""

    id: str


api = FastAPI(lifespan=lifespan(talo))
api.include_router(status_router(talo, prefix="/tasks"))


@api.post("/letters", status_code=202)
async def order(order: Order) -> Accepted:
    """Send it, and answer at once."""
    result = await write_letters.adelay(order.names)
    return Accepted(id=result.id)


@api.post("/letters/now")
async def write_now(order: Order) -> list[str]:
    """Send it, and wait: other requests go on meanwhile."""
    result = await write_letters.adelay(order.names)
    return await result.aget(timeout=60)


@api.delete("/letters/{task_id}", status_code=204)
def cancel(task_id: str, talo: TaloDep) -> None:
    """Keep it from starting."""
    talo.AsyncResult(task_id).revoke()
