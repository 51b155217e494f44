"""What changes when a Celery project moves to Talo: read from the project itself, without any server.

Owns the comparison of Celery's defaults with Talo's, task by task and setting by setting. Run as a program of its own
(``python -m talo.compat.survey PROJECT``) by ``talo migrate check``, because it imports the project under the alias.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from talo.app._options import FromConf
from talo.cli._errors import one_line
from talo.cli._find import find_app
from talo.compat.install import BESIDE, install_as_celery
from talo.compat.tables import ABSENT, TABLE
from talo.errors import ImproperlyConfigured
from talo.settings import OPTIONS, Settings, Status
from talo.settings.load import near_miss
from talo.settings.secret import hide
from talo.worker.rules import user_tasks

__all__ = ["survey"]

#: Settings whose default differs and is felt by tasks, with what changes and how to keep Celery's way.
_FELT: dict[str, tuple[str, str]] = {
    "task_acks_late": (
        "acknowledged after it has run instead of before: a crash repeats it instead of losing it",
        "acks_late=False",
    ),
    "task_reject_on_worker_lost": (
        "run again when its process dies, up to task_max_deliveries times, instead of failing",
        "reject_on_worker_lost=False",
    ),
    "result_backend": (
        "its result is kept beside the tasks for result_expires seconds instead of nowhere",
        "ignore_result=True, or result_backend = 'disabled://'",
    ),
    "redis_priority_order": (
        "on Redis priority 9 comes first instead of 0",
        "redis_priority_order = 'low-first'",
    ),
}
_SHOWN = 200


def survey(name: str) -> dict[str, Any]:
    """Return the report of a project by the name of its app (as for ``-A``): problems, imports, settings, tasks,
    gains."""
    sources = _Sources(Path.cwd())
    report: dict[str, Any] = {"project": name, "problems": [], "imports": list(sources.imports())}
    report |= {"settings": [], "tasks": [], "gains": []}
    problems: list[str] = report["problems"]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            app = find_app(name)
            app.conf.table()
        except ImproperlyConfigured as error:
            problems += [line.strip() for line in str(error).splitlines() if line.strip() and not line.endswith(":")]
            return report
        except click.ClickException as error:
            problems.append(error.message)
            return report
        except Exception as error:  # noqa: BLE001  whatever a project raises is what the report tells
            problems.append(one_line(error))
            return report
        for stage in (app.import_default_modules, app.finalize):
            try:
                stage()
            except Exception as error:  # noqa: BLE001  as above
                problems.append(one_line(error))
                return report
    problems += sorted({str(each.message) for each in warned if "both the task" in str(each.message)})
    report["settings"] = list(_settings(app.conf))
    report["tasks"] = [_task(app, task, sources.prioritise) for task in user_tasks(app)]
    report["gains"] = list(_gains(app, report["tasks"]))
    return report


# -- tasks


def _task(app: Any, task: Any, prioritised: bool) -> dict[str, Any]:
    """What changes for one task when Talo's defaults hold; ``prioritised``: calls somewhere say a priority."""
    changes = [{"what": _FELT[name][0], "keep": _FELT[name][1]} for name in _felt(app.conf, task, prioritised)]
    return {"name": task.name, "changes": changes}


def _felt(conf: Settings, task: Any, prioritised: bool) -> Iterator[str]:
    """The settings that the task leaves to a default that differs, and feels."""
    late = task.acks_late
    if late is False and _left_open(task, "acks_late") and _by_default(conf, "task_acks_late"):
        yield "task_acks_late"
        late = True
    lost_open = _left_open(task, "reject_on_worker_lost") and _by_default(conf, "task_reject_on_worker_lost")
    if late and lost_open:
        yield "task_reject_on_worker_lost"
    if _by_default(conf, "result_backend") and not task.ignore_result:
        yield "result_backend"
    if _by_default(conf, "redis_priority_order") and _on_redis(conf) and (prioritised or _uses_priorities(conf, task)):
        yield "redis_priority_order"


def _left_open(task: Any, option: str) -> bool:
    """Whether neither the task nor its class says it."""
    for cls in type(task).__mro__:
        if option in vars(task) or option in vars(cls):
            return option not in vars(task) and isinstance(vars(cls)[option], FromConf)
    return True


def _by_default(conf: Settings, setting: str) -> bool:
    return conf.origin(setting).startswith("default")


def _on_redis(conf: Settings) -> bool:
    return str(conf.broker_url).partition(":")[0] in ("redis", "rediss", "sentinel", "valkey")


def _uses_priorities(conf: Settings, task: Any) -> bool:
    """Whether calls of the task may carry a priority: its own, a route's, an entry's of beat, or any call's, where
    queues of several priorities are configured."""
    steps = (conf.broker_transport_options or {}).get("priority_steps") or conf.task_queue_max_priority
    if task.priority is not None or steps or conf.task_inherit_parent_priority:
        return True
    routes = conf.task_routes
    if routes is not None and (not isinstance(routes, Mapping) or "priority" in repr(routes)):
        return True
    return any(
        entry.get("task") == task.name and "priority" in (entry.get("options") or {})
        for entry in conf.beat_schedule.values()
        if isinstance(entry, Mapping)
    )


# -- settings


def _settings(conf: Settings) -> Iterator[dict[str, Any]]:
    """What becomes of each setting that the project makes, and of each default that differs."""
    for name, value in sorted(conf.changes.items()):
        option = OPTIONS.get(name)
        shown = repr(hide(value, name, option.secret if option else False))[:_SHOWN]
        row = {"name": name, "value": shown, "origin": conf.origin(name)}
        if option is None:
            guess = near_miss(name)
            text = (
                f"did you mean {guess}?"
                if guess
                else "kept for plug-ins; with Talo's defaults an unknown name is an error"
            )
            yield {**row, "status": "unknown", "text": text}
        elif option.status is Status.COMING and not option.is_default(value):
            yield {**row, "status": "no effect yet", "text": option.reason}
        else:
            yield {**row, "status": "effective", "text": ""}
    for name, option in sorted(OPTIONS.items()):
        if option.differs and option.follows and conf.origin(name).startswith("default"):
            ours = option.default_for(False)
            text = f"Talo's default is {getattr(ours, 'name', None) or repr(ours)}"
            yield {
                "name": name, "value": repr(option.default_for(True)), "origin": "Celery's default",
                "status": "default differs", "text": text,
            }  # fmt: skip


# -- imports


class _Sources:
    """The project's own files as syntax trees."""

    def __init__(self, folder: Path) -> None:
        self._trees = list(_trees(folder))
        #: Whether any call or dictionary in them names a priority.
        self.prioritise = any(_names_priority(node) for _, tree in self._trees for node in ast.walk(tree))

    def imports(self) -> Iterator[dict[str, str]]:
        """What they import of Celery and its neighbours that Talo does not have."""
        for path, tree in self._trees:
            for name, line in _named(tree):
                if not _known(name):
                    reason = next((ABSENT[each] for each in _prefixes(name) if each in ABSENT), "Talo does not have it")
                    yield {"name": name, "where": f"{path}:{line}", "reason": reason}


def _trees(folder: Path) -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in ("site-packages", "node_modules", "venv") for part in parts):
            continue
        try:
            yield "/".join(parts), ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue  # what the app needs of it is told when the app is imported


def _names_priority(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return any(keyword.arg == "priority" for keyword in node.keywords)
    if isinstance(node, ast.Dict):
        return any(isinstance(key, ast.Constant) and key.value == "priority" for key in node.keys)
    return False


def _named(tree: ast.AST) -> Iterator[tuple[str, int]]:
    tops = ("celery", *BESIDE)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, node.lineno) for each in node.names if each.name.partition(".")[0] in tops)
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] in tops:
            yield from ((f"{node.module}.{each.name}", node.lineno) for each in node.names if each.name != "*")


def _known(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return name in TABLE or attribute in TABLE.get(module, ())


def _prefixes(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


# -- gains


def _gains(app: Any, tasks: list[dict[str, Any]]) -> Iterator[str]:
    """What the project gets for it."""
    conf = app.conf
    early = sum(1 for task in user_tasks(app) if not task.acks_late)
    if early:
        yield f"{early} of {len(tasks)} tasks are lost if a worker dies while it runs them; none with Talo's defaults"
    if _on_redis(conf):
        hours = (conf.broker_transport_options or {}).get("visibility_timeout", 3600) / 3600
        yield f"tasks that run or wait longer than {hours:g} h (visibility_timeout) are not delivered twice any more"
    if conf.beat_schedule:
        yield "any number of beats may run at a time; each tick is sent once"
    yield "what fails for good is kept as a dead letter with its reason, and can be replayed (talo dead)"
    yield "delayed tasks wait in the store, not in the memory of a worker"


def main() -> None:
    """Print the report of the project that the command line names, as JSON."""
    install_as_celery()
    sys.path.insert(0, os.getcwd())
    print(json.dumps(survey(sys.argv[1]), default=str))


if __name__ == "__main__":
    main()
