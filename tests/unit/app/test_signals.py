"""Signals: who is told, and what a receiver cannot break."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from talo import Talo, shared_task, signals
from talo.util.signal import Signal


def test_every_signal_exists_with_its_keywords() -> None:
    # Given the names that receivers of Celery's signals rely on
    expected = {
        "before_task_publish": {"body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy"},
        "after_task_publish": {"body", "exchange", "routing_key", "headers"},
        "task_prerun": {"task_id", "task", "args", "kwargs"},
        "task_postrun": {"task_id", "task", "args", "kwargs", "retval", "state"},
        "task_success": {"result", "runtime"},
        "task_retry": {"request", "reason", "einfo"},
        "task_failure": {"task_id", "exception", "args", "kwargs", "traceback", "einfo"},
        "task_revoked": {"request", "terminated", "signum", "expired"},
        "task_unknown": {"message", "exc", "name", "id"},
        "worker_process_shutdown": {"pid", "exitcode"},
        "user_preload_options": {"app", "options"},
    }
    own = {"periodic_task_prepared", "task_lost", "task_prepared"}
    # Then they are there, 34 in all, and our own
    assert {name: set(getattr(signals, name).providing_args) for name in expected} == expected
    assert own < set(signals.__all__) and len(signals.__all__) == 34 + len(own)
    assert all(getattr(signals, name).name == name for name in signals.__all__)


def test_receivers_are_connected_in_every_form_and_disconnected() -> None:
    # Given a signal nobody listens to
    signal = Signal("s")
    told: list[str] = []
    assert not signal.receivers

    # When receivers connect as decorator, called decorator and by call
    @signal.connect
    def one(**kwargs: Any) -> None:
        told.append("one")

    @signal.connect(weak=False, dispatch_uid="two")
    def two(**kwargs: Any) -> None:
        told.append("two")

    signal.connect(two, dispatch_uid="two")  # the same again
    signal.send(sender=None)

    # Then each is told once, in order, and no more after it left
    assert told == ["one", "two"]
    assert signal.disconnect(one)
    assert signal.disconnect(dispatch_uid="two")
    assert not signal.disconnect(one)
    assert not signal.receivers


def test_a_sender_narrows_it_by_identity_text_or_proxy(app: Talo) -> None:
    # Given receivers for an object, for a name, and for a shared task
    signal = Signal("s")
    told: list[str] = []

    @shared_task(name=f"{__name__}.shared")
    def shared() -> None: ...

    @app.task
    def mine() -> None: ...

    signal.connect(lambda **kw: told.append("object"), sender=mine, weak=False)
    signal.connect(lambda **kw: told.append("text"), sender="na" + "me", weak=False)
    signal.connect(lambda **kw: told.append("proxy"), sender=shared, weak=False)

    # When each of them sends, then only its receiver is told
    for sender in (mine, "name", app.tasks[f"{__name__}.shared"], object()):
        signal.send(sender=sender)
    assert told == ["object", "text", "proxy"]
    assert not signal.has_listeners(object())


def test_a_weak_receiver_goes_with_its_owner() -> None:
    # Given a method of an object
    signal = Signal("s")

    class Owner:
        def hear(self, **kwargs: Any) -> None: ...

    owner = Owner()
    signal.connect(owner.hear)
    assert signal.receivers

    # When the object goes, then so does the receiver
    del owner
    gc.collect()
    assert not signal.receivers


def test_a_receiver_that_takes_no_keywords_is_refused() -> None:
    with pytest.raises(ValueError, match="kwargs"):
        Signal("s").connect(lambda sender: None)
    with pytest.raises(TypeError):
        Signal("s").connect("no function")  # type: ignore[call-overload]


def test_an_error_in_a_receiver_is_logged_and_the_next_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    # Given a receiver that fails and one behind it
    signal = Signal("s")
    failure = ValueError("broken receiver")

    def bad(**kwargs: Any) -> None:
        raise failure

    def good(value: int, **kwargs: Any) -> int:
        return value + 1

    signal.connect(bad)
    signal.connect(good)

    # When it is sent, then nothing is raised, and the log names the error
    with caplog.at_level(logging.ERROR):
        assert signal.send(sender=None, value=1) == [(bad, failure), (good, 2)]
    assert "broken receiver" in caplog.text


def test_a_retrying_receiver_is_called_until_it_succeeds() -> None:
    # Given a receiver that fails twice
    signal = Signal("s")
    tries: list[int] = []

    @signal.connect(retry=True)
    def flaky(**kwargs: Any) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return "ok"

    # Then one send makes three calls
    assert signal.send(sender=None) == [(flaky, "ok")]
    assert len(tries) == 3
