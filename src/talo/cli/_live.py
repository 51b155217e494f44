"""The live view of ``talo events``: workers above, the latest tasks below. Knows rich; imported only at a terminal."""

from __future__ import annotations

import threading
import time
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from talo.app.app import Talo
from talo.events.state import State

__all__ = ["view", "watch"]

_STYLES = {"SUCCESS": "green", "FAILURE": "bold red", "RETRY": "yellow", "STARTED": "cyan", "REVOKED": "magenta"}
#: Lines of the screen that are not tasks.
_FRAME = 9


def watch(app: Talo, freq: float, color: bool | None) -> None:
    """Show the state until INT; drawn every ``freq`` seconds."""
    state: State = app.events.State()
    receiver = app.events.Receiver(None, handlers={"*": state.event})
    hearing = threading.Thread(target=receiver.capture, kwargs={"wakeup": True}, daemon=True)
    hearing.start()
    console = Console(color_system=None if color is False else "auto", highlight=False)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while hearing.is_alive():
                rows = max(3, console.height - _FRAME - len(state.workers))
                live.update(state.freeze_while(view, state, rows), refresh=True)
                time.sleep(max(0.1, freq))
    except KeyboardInterrupt:
        return
    finally:
        receiver.stop()


def view(state: State, rows: int) -> Any:
    """Return what is drawn of a state: its workers and its latest ``rows`` tasks."""
    workers = Table(box=box.SIMPLE_HEAD, title="Workers", title_justify="left", expand=True)
    for heading in ("node", "state", "active", "processed", "load", "software"):
        workers.add_column(heading)
    for worker in sorted(state.workers.values(), key=lambda each: each.hostname):
        status = Text(worker.status_string, style="green" if worker.alive else "red")
        load = " ".join(str(each) for each in worker.loadavg or ()) if isinstance(worker.loadavg, list) else ""
        software = Text(f"{worker.sw_ident or ''} {worker.sw_ver or ''}")
        workers.add_row(Text(worker.hostname), status, _text(worker.active), _text(worker.processed), load, software)
    tasks = Table(box=box.SIMPLE_HEAD, title="Tasks", title_justify="left", expand=True)
    for heading in ("id", "name", "worker", "time", "state", "seconds"):
        tasks.add_column(heading, no_wrap=True, overflow="ellipsis")
    for uuid, task in state.tasks_by_time(limit=rows):
        seconds = f"{task.runtime:.3f}" if isinstance(task.runtime, int | float) else ""
        clock = time.strftime("%H:%M:%S", time.localtime(task.timestamp)) if task.timestamp else ""
        node = task.worker.hostname if task.worker is not None else ""
        shown = Text(task.state, style=_STYLES.get(task.state, ""))
        tasks.add_row(Text(uuid), _text(task.name), Text(node), clock, shown, seconds)
    counts = Text(f"{state.event_count} events, {state.task_count} tasks, INT to end")
    return Group(workers, tasks, counts)


def _text(value: Any) -> Text:
    return Text("" if value is None else str(value))
