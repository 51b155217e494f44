"""``celery.contrib.pytest``: the fixtures of Celery's pytest plugin.

Owns them; the work is done by ``testing.app`` and ``testing.worker``. Loaded with ``-p celery.contrib.pytest`` or
``pytest_plugins``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from talo.compat.testing.app import TestApp, setup_default_app
from talo.compat.testing.worker import start_worker

__all__ = [
    "celery_app",
    "celery_class_tasks",
    "celery_config",
    "celery_enable_logging",
    "celery_includes",
    "celery_parameters",
    "celery_session_app",
    "celery_session_worker",
    "celery_worker",
    "celery_worker_parameters",
    "celery_worker_pool",
    "depends_on_current_app",
    "pytest_configure",
    "use_celery_app_trap",
]


def pytest_configure(config: Any) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "celery(**overrides): settings of the celery_app of a test")


def _test_app(enable_logging: bool, use_trap: bool, parameters: Any, **config: Any) -> Any:
    stack = ExitStack()
    made = TestApp(set_as_current=False, enable_logging=enable_logging, config=config, **(parameters or {}))
    stack.enter_context(setup_default_app(made, use_trap))
    return made, stack


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """Whether the use of the current app is an error."""
    return False


@pytest.fixture(scope="session")
def celery_session_app(
    request: Any,
    celery_config: Any,
    celery_parameters: Any,
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Any]:
    """An app for the whole session."""
    made, stack = _test_app(celery_enable_logging, use_celery_app_trap, celery_parameters, **(celery_config or {}))
    with stack:
        yield made
    made.close()


@pytest.fixture(scope="session")
def celery_session_worker(
    request: Any,
    celery_session_app: Any,
    celery_includes: Any,
    celery_class_tasks: Any,
    celery_worker_pool: Any,
    celery_worker_parameters: Any,
) -> Iterator[Any]:
    """A worker for the whole session."""
    _prepare(celery_session_app, celery_includes, celery_class_tasks)
    with start_worker(celery_session_app, pool=celery_worker_pool, **(celery_worker_parameters or {})) as worker:
        yield worker


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Whether to set logging up."""
    return False


@pytest.fixture(scope="session")
def celery_includes() -> tuple[str, ...]:
    """Modules that the session's worker imports."""
    return ()


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """The pool of the workers; they have but one."""
    return "solo"


@pytest.fixture(scope="session")
def celery_config() -> dict[str, Any]:
    """Settings of the apps."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> dict[str, Any]:
    """Keywords of the apps."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_parameters() -> dict[str, Any]:
    """Keywords of the workers."""
    return {}


@pytest.fixture(scope="session")
def celery_class_tasks() -> list[Any]:
    """Task classes that the session's worker registers."""
    return []


@pytest.fixture
def celery_app(
    request: Any,
    celery_config: Any,
    celery_parameters: Any,
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Any]:
    """An app for one test; the marker ``celery`` changes its settings."""
    marker = request.node.get_closest_marker("celery")
    config = {**(celery_config or {}), **(marker.kwargs if marker is not None else {})}
    made, stack = _test_app(celery_enable_logging, use_celery_app_trap, celery_parameters, **config)
    with stack:
        yield made
    made.close()


@pytest.fixture
def celery_worker(
    request: Any, celery_app: Any, celery_includes: Any, celery_worker_pool: Any, celery_worker_parameters: Any
) -> Iterator[Any]:
    """A worker for one test."""
    _prepare(celery_app, celery_includes, ())
    with start_worker(celery_app, pool=celery_worker_pool, **(celery_worker_parameters or {})) as worker:
        yield worker


@pytest.fixture
def depends_on_current_app(celery_app: Any) -> None:
    """The app of the test is the current one."""
    celery_app.set_current()


def _prepare(app: Any, includes: Any, class_tasks: Any) -> None:
    for module in includes or ():
        app.loader.import_task_module(module)
    for task in class_tasks or ():
        app.register_task(task)
