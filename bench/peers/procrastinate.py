"""Procrastinate on PostgreSQL: two worker processes with coroutines, ten at a time, and its own notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from procrastinate import App, PsycopgConnector

from bench.counter import counter
from bench.peers import Peer, url

count = counter()
app = App(connector=PsycopgConnector(conninfo=url()))


@app.task(name="noop")
async def noop() -> None:
    count.hit()


@app.task(name="mark")
async def mark(index: int) -> None:
    count.mark(index)


class ProcrastinatePeer(Peer):
    name = "procrastinate"
    title = "Procrastinate"
    distribution = "procrastinate"
    sizes: Mapping[str, int] = {"postgres": 3_000, "postgres-bulk": 10_000, "postgres-wake": 200}
    _opened = False

    def worker(self, measure: str) -> Sequence[Sequence[str]]:
        command = ["procrastinate", "--app", "bench.peers.procrastinate.app", "worker", "-c", "10"]
        return [command, command]

    async def _open(self) -> None:
        if not self._opened:
            self._opened = True
            await app.open_async()

    async def prepare(self) -> None:
        await self._open()
        await app.schema_manager.apply_schema_async()

    async def produce(self, n: int) -> None:
        await self._open()
        for _ in range(n):
            await noop.defer_async()

    async def produce_bulk(self, n: int) -> None:
        await self._open()
        await noop.batch_defer_async(*({} for _ in range(n)))

    async def send_mark(self, index: int) -> None:
        await self._open()
        await mark.defer_async(index=index)


peer = ProcrastinatePeer()
