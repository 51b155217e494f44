"""The distribution that takes Celery's name: pip, ``import``, the command, and its neighbours' names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ecosystem.venv import Environment, worker

PROJECT = """
from celery import Celery, shared_task

app = Celery("project", broker=URL, backend=URL)

@app.task(bind=True)
def add(self, x, y):
    return x + y

@shared_task
def double(x):
    return 2 * x
"""


def test_metadata_and_names_read_as_celerys(where: Environment, tmp_path: Path) -> None:
    code = (
        "import importlib.metadata as m, celery, kombu, billiard.einfo, vine\n"
        "print(m.version('celery'), celery.__version__, celery.VERSION[:2], celery.Celery.__mro__[1].__name__)\n"
    )
    assert where.script(code, cwd=tmp_path).split() == ["5.6.2+talo.0.1.0", "5.6.2", "(5,", "6)", "Talo"]


def test_neighbours_may_be_imported_first(where: Environment, tmp_path: Path) -> None:
    code = "from kombu import Queue; import celery; print(Queue('a').name, celery.Task.__module__)"
    assert where.script(code, cwd=tmp_path).split() == ["a", "talo.app.task"]


def test_pip_finds_what_plugins_require(where: Environment, tmp_path: Path) -> None:
    code = (
        "from importlib.metadata import version, requires\n"
        "from packaging.requirements import Requirement\n"
        "for name in ('celery-batches', 'celery-once', 'celery-redbeat', 'flower', 'django-celery-beat'):\n"
        "    for text in requires(name):\n"
        "        r = Requirement(text)\n"
        "        if r.name == 'celery' and r.marker is None:\n"
        "            print(name, r.specifier.contains(version('celery')))\n"
    )
    answers = where.script(code, cwd=tmp_path).split()
    assert answers and "False" not in answers


@pytest.mark.parametrize("program", [["celery"], ["python", "-m", "celery"]])
def test_the_command_is_talos(where: Environment, program: list[str], tmp_path: Path) -> None:
    done = where.run(*program, "--version", cwd=tmp_path)
    assert done.returncode == 0 and "talo" in done.stdout, done.stderr


def test_a_project_runs_without_a_changed_line(where: Environment, project: Callable[[str], Path]) -> None:
    folder = project(PROJECT)
    with worker(where, folder):
        code = (
            "from project import add, double\n"
            "from celery import chain, chord, group\n"
            "print(add.delay(2, 3).get(timeout=30), double.delay(4).get(timeout=30))\n"
            "print(chain(add.s(1, 1), double.s())().get(timeout=30))\n"
            "print(chord([double.s(n) for n in range(3)], double.s()).apply_async().get(timeout=30))\n"
        )
        assert where.script(code, cwd=folder).split("\n") == ["5 8", "4", "[0, 2, 4, 0, 2, 4]", ""]
