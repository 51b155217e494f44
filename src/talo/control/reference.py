"""The reference pages of remote control and events, made from the code.

``python -m talo.control.reference`` in the project's root writes them, and a test says when they are stale. Called by
nobody at run time."""

from __future__ import annotations

import sys
from pathlib import Path

from talo.control import inspecting, steering
from talo.control.panel import Command, Panel
from talo.events.kinds import COMMON, KINDS

__all__ = ["CONTROL_PATH", "EVENTS_PATH", "control_page", "events_page", "main"]

CONTROL_PATH = "docs/reference/control.md"
EVENTS_PATH = "docs/reference/events.md"
#: The modules whose import registers the commands.
BUILT_IN = (inspecting, steering)

_CONTROL = """\
# Remote control

<!-- Rendered by `python -m talo.control.reference` from the commands in src/talo/control; change those. -->

Commands go to every worker that hears the broker, Talo's and Celery's alike, on every store. Talo's workers answer from
their agent, so they answer while every slot is busy. In code: `app.control.inspect([node]).NAME(...)` and
`app.control.NAME(..., destination=[node], reply=True)`; on the command line: `talo inspect NAME`, `talo control NAME`.
A worker that gets a command after the time that its sender waits does not carry it out.

What Talo's workers answer differently from Celery's:

- `scheduled` is empty: delayed tasks wait in the store, not in a worker.
- `revoke` and its relatives are kept in the store for a week, for workers that are down too; without a store that keeps
  shared state, in the memory of the workers that hear it.
- `terminate` stops a run by an exception, and ends its process only if it does not hear that. The signal's name is
  not used. A later run, or another task in that process, is never hit.
- `pool_grow` and `pool_shrink` are for the pool `processes`; shrinking waits for running tasks. `pool_restart` needs
  `worker_pool_restarts`; it replaces processes and loads no new code.
- `stats` has an empty `total` and, beside Celery's fields, `talo`: tasks processed and active, queues.
- `autoscale` is for workers started with `--autoscale`. `election` and `objgraph` are refused.
- What was set (queues, limits, events) outlives processes and agent of the worker, not the worker. Its number of
  processes outlives it too: it is kept in the store under the worker's name, a year at most, for starts with the same
  `-c`.

Talo's own: `talo control pause QUEUE...`, `pause --task NAME`, `resume` and `paused` (in code `app.control.pause(...)`)
are kept in the store and hold for all of Talo's workers until they are resumed, a year at most.

A project's own command is a function `f(state, **arguments)` under `control_command` or `inspect_command` of
`talo.control.panel`; `state.app` and `state.hostname` are there, and what
`talo.control.node.Node` promises.
"""

_EVENTS = """\
# Events

<!-- Rendered by `python -m talo.control.reference` from src/talo/events/kinds.py; change that. -->

Celery's events, over the exchange `celeryev` (setting `event_exchange`), as JSON. Task events are sent while they are
on: `talo worker -E`, `worker_send_task_events`, or `talo control enable_events`; of a task with `send_events=False`
never. A worker gathers them and sends them as lists; a task never waits for an event, and what finds no room is dropped
and counted in the log. `worker-*` come from the agent, on SQL stores only while task events are on.
"""


def control_page() -> str:
    """Return the page of the commands."""
    parts = [_CONTROL]
    for kind, title in (("inspect", "Commands that look"), ("control", "Commands that change")):
        parts.append(f"\n## {title}\n\n| command | arguments | what it does |\n|---|---|---|\n")
        parts += [_row(each) for each in sorted(Panel.meta.values(), key=lambda each: each.name) if each.type == kind]
    return "".join(parts)


def _row(command: Command) -> str:
    alias = f" (also `{command.alias}`)" if command.alias else ""
    signature = f"`{command.signature}`" if command.signature else ""
    return f"| `{command.name}`{alias} | {signature.replace('|', '&#124;')} | {command.help} |\n"


def events_page() -> str:
    """Return the page of the events."""
    parts = [_EVENTS, "\nEvery event: ", ", ".join(f"`{name}` ({text})" for name, text in COMMON.items()), ".\n"]
    parts.append("\n| event | when | further fields |\n|---|---|---|\n")
    for name, kind in KINDS.items():
        parts.append(f"| `{name}` | {kind.when} | {', '.join(f'`{field}`' for field in kind.fields)} |\n")
    return "".join(parts)


def main() -> int:
    """Write the pages into the current project."""
    for path, text in ((CONTROL_PATH, control_page()), (EVENTS_PATH, events_page())):
        Path(path).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
