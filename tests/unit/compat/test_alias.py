"""``import celery`` under the alias: names, modules, and what is said of what is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from talo.compat.tables import ABSENT, TABLE
from tests.unit.compat.conftest import ALIAS, Run

Under = Callable[[str], str]


def test_every_name_of_the_table_leads_to_an_object(under_alias: Under) -> None:
    code = (
        "import sys, importlib\n"
        "from talo.compat.install import BESIDE\n"
        "from talo.compat.tables import TABLE\n"
        "from talo.util.names import import_path\n"
        "print([(m, n) for m, names in TABLE.items() for n, target in names.items() if import_path(target) is None])\n"
        "mods = [m for m in TABLE if m.partition('.')[0] == 'celery']\n"
        "print(all(importlib.import_module(m) is sys.modules[m] for m in mods), len(mods) > 80)\n"
    )
    assert under_alias(code) == "[]\nTrue True"


def test_no_name_is_both_there_and_absent() -> None:
    assert [name for name in ABSENT if name in {f"{module}.{each}" for module in TABLE for each in TABLE[module]}] == []


def test_submodules_are_attributes_too(under_alias: Under) -> None:
    code = (
        "import celery\n"
        "print(celery.signals.task_prerun.name, celery.app.task.Task is celery.Task, celery.beat.Scheduler.__name__,"
        " celery.exceptions.Retry.__name__, celery.platforms.close_open_fds.__name__)"
    )
    assert under_alias(code) == "task_prerun True Scheduler Retry close_open_fds"


def test_it_reads_as_celery_5(under_alias: Under) -> None:
    code = "import celery; print(celery.VERSION >= (5, 2), celery.VERSION < (6,), celery.__version__.split('.')[0])"
    assert under_alias(code) == "True True 5"


def test_nothing_is_imported_before_it_is_used(under_alias: Under) -> None:
    code = "import sys, celery, celery.contrib.pytest, celery.bin.celery; print('pytest' in sys.modules, 'talo.cli.main' in sys.modules)"  # noqa: E501
    assert under_alias(code) == "False False"


def test_paths_patches_and_pickles_reach_the_same_objects(under_alias: Under) -> None:
    code = (
        "import pickle, unittest.mock as mock, importlib\n"
        "from celery.utils.imports import symbol_by_name\n"
        "from celery.exceptions import Retry, Reject\n"
        "import celery.app.task, talo\n"
        "print(symbol_by_name('celery.beat:PersistentScheduler').__name__, symbol_by_name('celery.app.task.Task') is talo.Task)\n"  # noqa: E501
        "with mock.patch('celery.app.task.Task.delay', lambda self: 'patched'):\n"
        "    print(talo.Task().delay())\n"
        "print(type(pickle.loads(b'ccelery.exceptions\\nReject\\n(tR.')) is Reject)\n"
        "print(importlib.import_module('celery.worker.components').Timer.__name__)\n"
        "from celery.contrib.abortable import *\n"
        "print(AbortableTask.__name__)\n"
    )
    assert under_alias(code) == "PersistentScheduler True\npatched\nTrue\nTimer\nAbortableTask"


def test_a_tracer_can_be_replaced_like_in_any_module(under_alias: Under) -> None:
    code = (
        "import celery, celery.app.trace as trace\n"
        "seen, original = [], trace.build_tracer\n"
        "def build(name, task, *a, **k):\n"
        "    inner = original(name, task, *a, **k)\n"
        "    def tracer(uuid, args, kwargs, request):\n"
        "        seen.append((name, list(args), request['headers'])); return inner(uuid, args, kwargs, request)\n"
        "    return tracer\n"
        "trace.build_tracer = build\n"
        "app = celery.Celery('p', broker='memory://')\n"
        "@app.task(name='t')\n"
        "def t(x): return x + 1\n"
        "print(t.apply((1,)).get(), seen)"
    )
    assert under_alias(code) == "2 [('t', [1], None)]"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("from celery.backends.database import DatabaseBackend", ["celery.backends.database", "set result_backend"]),
        ("import celery.concurrency.gevent", ["celery.concurrency.gevent", "-P threads"]),
        ("from celery.contrib.migrate import move", ["celery.contrib.migrate", "drain"]),
        ("from celery.app.trace import _fast_trace_task", ["celery.app.trace._fast_trace_task", "build_tracer"]),
        ("from celery import Celry", ["celery.Celry", "did you mean celery.Celery?"]),
        ("import celery; celery.exceptions.Rety", ["celery.exceptions.Rety", "did you mean celery.exceptions.Retry?"]),
        ("import celery.nonsense", ["celery.nonsense is not part of Talo"]),
    ],
)
def test_what_is_not_there_is_named_with_the_reason_and_the_mend(run: Run, code: str, words: list[str]) -> None:
    told = run("-c", ALIAS + code)
    assert told.returncode == 1
    last = told.stderr.strip().splitlines()[-1]
    assert last.startswith(("ModuleNotFoundError", "AttributeError"))
    for word in words:
        assert word in last


def test_a_plugin_may_look_for_a_name_that_is_not_there(under_alias: Under) -> None:
    code = "import celery\ntry:\n    from celery.app.trace import nothing\nexcept ImportError: print('no', hasattr(celery, 'nothing'))"  # noqa: E501
    assert under_alias(code) == "no False"


# -- never two at once


@pytest.mark.promise("K10")
def test_celery_and_its_alias_never_meet_in_one_process(run: Run) -> None:
    # Given the real Celery, loaded first, the alias is refused, and says what to do.
    told = run("-c", "import celery\n" + ALIAS)
    assert told.returncode == 1
    assert "cannot both be celery in one process" in told.stderr and "before anything imports celery" in told.stderr
    # Given the alias, the real one cannot be loaded, by any name of its modules.
    code = (
        "import celery, sys, importlib\n"
        "import celery.app.base, celery.worker.request\n"
        "try:\n    importlib.import_module('celery.backends.redis')\nexcept ImportError: pass\n"
        "print([n for n, m in sys.modules.items() if n.split('.')[0] == 'celery' and not hasattr(m, '__talo_alias__')])"
    )
    assert run("-c", ALIAS + code).stdout.strip() == "[]"


def test_the_alias_may_be_put_in_place_twice(under_alias: Under) -> None:
    code = "import celery, sys; talo.compat.install_as_celery(); import celery as again; print(again is celery, sum(type(f).__name__ == 'AliasFinder' for f in sys.meta_path))"  # noqa: E501
    assert under_alias(code) == "True 1"


def test_real_neighbours_are_left_alone_and_their_queues_are_taken(under_alias: Under) -> None:
    # kombu is installed here, so it is the real one.
    code = (
        "import kombu, celery\n"
        "print(hasattr(kombu, '__talo_alias__'))\n"
        "app = celery.Celery('p', broker='memory://')\n"
        "app.conf.task_queues = [kombu.Queue('a', kombu.Exchange('x', type='topic'), routing_key='a.#')]\n"
        "q = app.amqp.queues['a']; print(type(q).__module__, q.exchange.name, q.exchange.type, q.routing_key)"
    )
    assert under_alias(code) == "False\ntalo.wire.queues x topic a.#"


# -- Celery's defaults


@pytest.mark.promise("K09")
def test_celerys_defaults_hold_and_explicit_values_win(under_alias: Under) -> None:
    code = (
        "import celery, talo\n"
        "app = celery.Celery('p', broker='redis://localhost')\n"
        "app.conf.some_plugin_option = 1\n"
        "@app.task\ndef t(): pass\n"
        "@app.task(acks_late=True)\ndef late(): pass\n"
        "c = app.conf\n"
        "print(t.acks_late, t.at_most_once, c.redis_priority_order, c.some_plugin_option, c.result_backend, c.task_canvas_form)\n"  # noqa: E501
        "print(late.acks_late, late.reject_on_worker_lost)\n"
        "other = celery.Celery('q', broker='redis://localhost', task_acks_late=True, redis_priority_order='high-first')\n"  # noqa: E501
        "print(other.conf.task_acks_late, other.conf.redis_priority_order)\n"
        "own = talo.Talo('r', set_as_current=False)\n"
        "print(own.conf.task_acks_late, own.conf.redis_priority_order)\n"
        "print(type(celery.backends.base.DisabledBackend(app)) is type(app.backend))\n"
    )
    assert under_alias(code).splitlines() == [
        "False True low-first 1 None celery", "True None", "True high-first", "True high-first", "True",
    ]  # fmt: skip


def test_without_a_result_backend_asking_says_so(under_alias: Under) -> None:
    code = (
        "import celery\napp = celery.Celery('p', broker='memory://')\n"
        "@app.task\ndef t(): pass\n"
        "r = t.delay()\n"
        "try: r.get(timeout=1)\nexcept Exception as e: print(type(e).__name__, e)"
    )
    assert "no result backend is configured" in under_alias(code)


def test_a_result_backend_of_ones_own_is_named_by_its_scheme(under_alias: Under) -> None:
    code = (
        "import celery\nfrom celery.backends.base import KeyValueStoreBackend\n"
        "kept = {}\n"
        "class Mine(KeyValueStoreBackend):\n"
        "    get, set, delete = kept.get, kept.__setitem__, kept.pop\n"
        "app = celery.Celery('p', broker='memory://', backend='mine://', override_backends={'mine': '__main__:Mine'})\n"
        "app.backend.store_result('one', 5, 'SUCCESS')\n"
        "print(list(kept), app.AsyncResult('one').get(), app.conf.notes())"
    )
    assert under_alias(code) == "['celery-task-meta-one'] 5 []"


# -- the app


def test_classes_of_the_app_can_be_replaced(under_alias: Under) -> None:
    code = (
        "import celery\nfrom celery.app.log import Logging\nfrom celery.app.registry import TaskRegistry\n"
        "class MyLog(Logging): pass\nclass MyTask(celery.Task): x = 1\nclass Reg(TaskRegistry): pass\n"
        "class App(celery.Celery):\n    registry_cls = Reg\n    task_cls = MyTask\n"
        "app = App('p', log=MyLog, broker='memory://')\n"
        "@app.task\ndef t(): pass\n"
        "print(type(app.log).__name__, t.x, type(app.tasks).__name__, celery.current_app.main)\n"
        "class Ctx(app.Task):\n    def __call__(self, *a, **k): return ('ctx', super().__call__(*a, **k))\n"
        "app.Task = Ctx\n"
        "@app.task\ndef u(n): return n\n"
        "print(u(1), u.apply((2,)).get())"
    )
    assert under_alias(code) == "MyLog 1 Reg p\n('ctx', 1) ('ctx', 2)"


def test_send_task_is_the_one_door(under_alias: Under) -> None:
    code = (
        "import celery\nfrom celery import registry, current_app\n"
        "class App(celery.Celery):\n"
        "    def send_task(self, name, *a, **k):\n"
        "        print(name); return super().send_task(name, *a, **k)\n"
        "app = App('p', broker='memory://')\n"
        "@app.task\ndef t(): pass\n"
        "t.delay(); print(registry.tasks.get('p.t') is t)"
    )
    assert under_alias(code) == "p.t\nTrue"


def test_results_of_an_app_belong_to_it(under_alias: Under) -> None:
    code = (
        "import celery, pickle\nfrom celery.result import AsyncResult, GroupResult\n"
        "app = celery.Celery('p', broker='memory://x', backend='memory://x')\n"
        "app.backend.store_result('one', {'a': 1}, 'SUCCESS')\n"
        "r = app.AsyncResult('one'); print(r.get(), r._get_task_meta()['status'], isinstance(r, AsyncResult))\n"
        "print(app.backend.get_task_meta('one')['result'], app.backend.get_state('two'), app.backend.mget([app.backend.get_key_for_task('one')])[0][:1])\n"  # noqa: E501
        "g = app.GroupResult('g', [r]); g.save(); print(app.GroupResult.restore('g').results == [r], pickle.loads(pickle.dumps(g)) == g)\n"  # noqa: E501
        "app.backend.forget('one'); print(app.AsyncResult('one').state)"
    )
    assert under_alias(code).splitlines() == [
        "{'a': 1} SUCCESS True", "{'a': 1} PENDING b'{'", "True True", "PENDING",
    ]  # fmt: skip


def test_two_functions_under_one_name_are_told(under_alias: Under) -> None:
    code = (
        "import warnings, celery\nwarnings.simplefilter('error')\n"
        "app = celery.Celery('p', broker='memory://')\n"
        "def make(n):\n    def fun(): return n\n    fun.__module__ = 'm%d' % n; return fun\n"
        "app.task(name='same')(make(1))\n"
        "try: app.task(name='same')(make(2))\nexcept Warning as w: print(w)"
    )
    assert "are both the task 'same': the first one is kept; give one of them another name" in under_alias(code)


def test_two_apps_with_one_task_name_keep_each_its_own(under_alias: Under) -> None:
    code = (
        "import celery\n"
        "one, two = (celery.Celery(n, broker='memory://') for n in ('one', 'two'))\n"
        "for app in (one, two): app.task(name='same')(lambda app=app: app.main)\n"
        "print(one.tasks['same'](), two.tasks['same'](), one.tasks['same'].app.main)"
    )
    assert under_alias(code).split() == ["one", "two", "one"]


def test_a_setting_of_a_wrong_type_is_told_with_what_is_expected(run: Run) -> None:
    told = run(
        "-c", ALIAS + "import celery; celery.Celery('p', broker='memory://', worker_concurrency='many').conf.table()"
    )
    assert "worker_concurrency = 'many': expected" in told.stderr


def test_a_command_line_may_be_run_with_an_app(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        ALIAS + "import celery\napp = celery.Celery('mine', broker='sqlite:///q.sqlite3')\n"
        "@app.task\ndef t(): pass\nif __name__ == '__main__':\n    app.start()\n"
    )
    done = run("mine.py", "call", "mine.t")
    assert done.returncode == 0 and len(done.stdout.strip()) == 36, done.stderr
    assert run("mine.py", "nonsense").returncode == 2
