"""The screen of ``talo top``: totals, workers, queues, tasks, failures. Knows rich; imported only by that command."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from talo.control.overview import Overview
from talo.errors import OperationalError
from talo.stores.base import QueueStats, delayed_in

__all__ = ["print_once", "watch"]

#: Columns where no terminal says how many it has.
_WIDTH = 120
#: Workers and queues that are shown.
_ROWS = 20

T = TypeVar("T")


def print_once(look: Callable[[], Overview], place: str, color: bool | None) -> None:
    """Print one frame."""
    console = Console(color_system=None if color is False else "auto", highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(frame(look(), place, None))


def watch(look: Callable[[], Overview], place: str, interval: float, color: bool | None) -> None:
    """Draw a frame every ``interval`` seconds until INT. While the store is away the last one stays, and says so."""
    console = Console(color_system=None if color is False else "auto", highlight=False)
    last, trouble = look(), None
    ended = threading.Event()
    # A handler that notes the signal: an exception in its place may be swallowed where none can be raised.
    before = signal.signal(signal.SIGINT, lambda *_: ended.set())
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(frame(last, place, trouble), refresh=True)
                if ended.wait(interval):
                    return
                try:
                    last, trouble = look(), None
                except OperationalError as exc:
                    trouble = str(exc)
    finally:
        signal.signal(signal.SIGINT, before)


def frame(found: Overview, place: str, trouble: str | None) -> Any:
    """Return what is drawn of one look."""
    parts: list[Any] = [_totals(found, place), _workers(found), _queues(found)]
    if found.counted:
        parts += [_tasks(found), _failures(found)]
    else:
        parts.append(Text("No history is kept here: no rates and failures to tell of", style="dim"))
    if trouble is not None:
        parts.append(Text(f"The store is away: {trouble}", style="bold red"))
    return Group(*parts)


def _totals(found: Overview, place: str) -> Text:
    alive = [worker for worker in found.workers if worker.alive]
    slots, held = sum(worker.slots for worker in alive), sum(worker.held for worker in alive)
    text = Text(f"{place}  {time.strftime('%H:%M:%S', time.localtime(found.at))}\n", style="dim")
    text.append(f"workers {len(alive)}   slots {slots}   held {held}", style="bold not dim")
    ready, delayed = sum(queue.ready for queue in found.queues), _known(delayed_in(found.queues))
    text.append(f"   ready {ready}   delayed {delayed}", style="bold not dim")
    if found.counted:
        rate = found.ended / max(found.window, 1.0)
        text.append(f"   {rate:.1f}/s over {found.window / 60:.0f} min", style="bold not dim")
        share = found.failed / found.ended if found.ended else 0.0
        text.append(f"   failed {share:.1%}", style="bold red not dim" if found.failed else "bold not dim")
    return text


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", expand=True)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True, overflow="ellipsis")
    return table


def _workers(found: Overview) -> Table:
    table = _table("Workers", "worker", "state", "slots", "held")
    # Who has fallen silent first.
    for worker in _first(table, sorted(found.workers, key=lambda worker: worker.alive)):
        state = Text("alive", style="green") if worker.alive else Text("lease over", style="red")
        table.add_row(_text(worker.name), state, str(worker.slots), str(worker.held))
    return table


def _queues(found: Overview) -> Table:
    table = _table("Queues", "queue", "ready", "delayed", "leased", "oldest")
    # The longest first.
    for queue in _first(table, sorted(found.queues, key=lambda queue: (-queue.ready, queue.name))):
        table.add_row(_text(queue.name), str(queue.ready), _known(queue.delayed), str(queue.leased), _age(queue))
    return table


def _tasks(found: Overview) -> Table:
    table = _table("Tasks", "task", "rate", "ended", "failed", "retried", "p50", "p95")
    for task in found.tasks:
        failed = Text(str(task.failed), style="bold red" if task.failed else "")
        table.add_row(
            _text(task.name), f"{task.rate:.1f}/s", str(task.ended), failed, str(task.retried),
            _time(task.p50), _time(task.p95),
        )  # fmt: skip
    return table


def _failures(found: Overview) -> Table:
    table = _table("Failures", "task", "count", "ago", "error")
    table.columns[-1].justify = "left"
    for failure in found.failures:
        ago = _time(max(0.0, found.at - failure.last))
        table.add_row(_text(failure.name), str(failure.count), ago, _text(failure.error.partition("\n")[0]))
    return table


def _first(table: Table, rows: list[T]) -> list[T]:
    """What a screen has room for; of the others their number."""
    if len(rows) > _ROWS:
        table.caption = f"and {len(rows) - _ROWS} more"
    return rows[:_ROWS]


def _text(value: str) -> Text:
    """A name as it may be shown: whoever sends a task may write into it what a terminal would obey."""
    return Text("".join(each if each.isprintable() else "?" for each in value))


def _known(number: int | None) -> str:
    return "unknown" if number is None else str(number)


def _age(queue: QueueStats) -> str:
    return "unknown" if queue.ready and queue.oldest is None else _time(queue.oldest)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
