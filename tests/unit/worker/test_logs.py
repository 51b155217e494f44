"""The worker's logging: one handler of its own, and nothing of the application's is touched."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import signals
from talo.app.app import Talo
from talo.worker.logs import name_process, set_up_logging, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def app() -> Iterator[Talo]:
    with Talo("logs", set_as_current=False) as made:
        yield made


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test sets up is gone after it."""
    root, ours = logging.getLogger(), logging.getLogger("talo")
    before = (root.handlers[:], ours.handlers[:], ours.level, ours.propagate)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    yield
    for handler in ours.handlers:
        handler.close()
    root.handlers, ours.handlers = before[0], before[1]
    ours.setLevel(before[2])
    ours.propagate = before[3]
    name_process("MainProcess")


def no_handlers() -> None:
    """As in a fresh process. Pytest puts its own back when the test begins, so a fixture comes too early."""
    logging.getLogger().handlers = []
    logging.getLogger("talo").handlers = []


def test_lines_have_celery_s_form_and_the_name_of_the_process(app: Talo, capsys: pytest.CaptureFixture[str]) -> None:
    # Given
    no_handlers()
    set_up_logging(app, logging.INFO, None)
    # When
    name_process("child-3")
    logging.getLogger("talo.worker").info("hello")
    logging.getLogger("talo.worker").debug("not this")
    # Then
    line = capsys.readouterr().err
    assert line.startswith("[") and line.endswith(": INFO/child-3] hello\n")


def test_the_application_s_own_logging_stays_as_it_is(app: Talo) -> None:
    # Given
    no_handlers()
    own = logging.NullHandler()
    root, ours = logging.getLogger(), logging.getLogger("talo")
    root.handlers = [own]
    # When
    set_up_logging(app, logging.INFO, None)
    # Then
    assert (root.handlers, ours.handlers, ours.propagate) == ([own], [], True)


def test_a_receiver_of_setup_logging_does_it_alone(app: Talo) -> None:
    # Given
    no_handlers()
    heard = []

    def receiver(**told: object) -> None:
        heard.append(told["loglevel"])

    signals.setup_logging.connect(receiver)
    # When
    try:
        set_up_logging(app, logging.DEBUG, None)
    finally:
        signals.setup_logging.disconnect(receiver)
    # Then
    assert heard == [logging.DEBUG]
    assert logging.getLogger("talo").handlers == []


def test_only_what_is_not_ordinary_is_coloured(app: Talo, capsys: pytest.CaptureFixture[str]) -> None:
    # Given
    no_handlers()
    app.conf.worker_log_color = True
    set_up_logging(app, logging.INFO, None)
    # When
    logging.getLogger("talo").info("plain")
    logging.getLogger("talo").error("red")
    # Then
    plain, red = capsys.readouterr().err.splitlines()
    assert "\033[" not in plain
    assert red.startswith("\033[31m") and red.endswith("\033[0m")


def test_a_file_gets_no_colours(app: Talo, tmp_path: Path) -> None:
    no_handlers()
    app.conf.worker_log_color = True
    set_up_logging(app, logging.INFO, str(tmp_path / "log"))
    logging.getLogger("talo").error("plain")
    assert (tmp_path / "log").read_text().endswith("] plain\n")


def test_colours_are_for_terminals_unless_the_setting_or_the_environment_says_otherwise(
    app: Talo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wants_colour(app, Terminal()) is True
    assert wants_colour(app, io.StringIO()) is False
    monkeypatch.setenv("NO_COLOR", "1")
    assert wants_colour(app, Terminal()) is False
    app.conf.worker_log_color = True
    assert wants_colour(app, io.StringIO()) is True
