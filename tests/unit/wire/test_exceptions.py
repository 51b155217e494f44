"""Failures keep their class where it is loaded, have a stand-in where not, and import nothing."""

from __future__ import annotations

import gc
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from talo import errors
from talo.wire import JSON, RemoteError, exception_from_data, exception_to_data


class Outer:
    class Inner(Exception):
        pass


class WithCode(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


class Worded(Exception):
    """Stores other arguments than it is built from."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no {name}")


class Needy(Exception):
    def __init__(self, *, reason: str) -> None:
        super().__init__(reason)


class Sly(Exception):
    """Is built as something else."""

    def __new__(cls, *args: Any) -> Any:
        return "no exception at all"


def there_and_back(exc: BaseException) -> BaseException:
    return exception_from_data(JSON.loads(JSON.dumps(exception_to_data(exc))))


@pytest.mark.promise("R05")
@pytest.mark.parametrize(
    "exc",
    [
        ValueError("bad", 42),
        KeyError("k"),
        RuntimeError(),
        OSError(2, "gone"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
        Outer.Inner("x"),
        WithCode(7, "x"),
        Worded("thing"),
        Needy(reason="x"),
        errors.TaskRevokedError("expired"),
        errors.SoftTimeLimitExceeded(),
        errors.WorkerLostError("signal 9"),
        errors.MalformedMessage("bad_eta", "soon"),
        errors.NotRegistered("no.such"),
        errors.Reject("why", True),
        errors.OperationalError("down"),
    ],
    ids=repr,
)
def test_a_loaded_class_comes_back_with_its_arguments(exc: Exception) -> None:
    # When
    back = there_and_back(exc)
    # Then
    assert type(back) is type(exc)
    assert back.args == exc.args
    assert str(back) == str(exc)
    assert vars(back) == vars(exc)


@pytest.mark.parametrize(
    ("exc", "text", "data"),
    [
        (errors.TimeLimitExceeded(1), "time limit of 1 s exceeded", [1]),
        (errors.TimeLimitExceeded(), "time limit exceeded", []),
        (errors.SoftTimeLimitExceeded(0.5), "soft time limit of 0.5 s exceeded", [0.5]),
        (errors.Reject("no"), "no", ["no", False]),
        (errors.Reject(), "rejected", [None, False]),
    ],
    ids=repr,
)
def test_what_people_read_is_a_sentence_and_the_wire_stays_as_celery_has_it(
    exc: Exception, text: str, data: list[Any]
) -> None:
    assert (str(exc), exception_to_data(exc)["exc_message"]) == (text, data)


@pytest.mark.promise("R05")
def test_a_class_that_is_not_loaded_has_a_stand_in() -> None:
    # When
    back = exception_from_data({"exc_type": "Payment.Failed", "exc_message": ["card", 7], "exc_module": "shop.errors"})
    # Then
    assert isinstance(back, RemoteError)
    assert isinstance(back, errors.TaskError)
    assert (type(back).__name__, type(back).__qualname__, type(back).__module__) == (
        "Failed",
        "Payment.Failed",
        "shop.errors",
    )
    assert (back.exc_type, back.exc_module, back.args) == ("Payment.Failed", "shop.errors", ("card", 7))
    assert back.message == str(back) == "('card', 7)"
    assert "shop" not in sys.modules
    assert exception_to_data(back) == {
        "exc_type": "Payment.Failed",
        "exc_message": ["card", 7],
        "exc_module": "shop.errors",
    }


def test_a_stand_in_can_be_caught_by_its_own_class() -> None:
    data = {"exc_type": "Failed", "exc_message": ["x"], "exc_module": "shop.errors"}
    assert type(exception_from_data(data)) is type(exception_from_data(data))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("celery.exceptions", "TaskRevokedError"),
        ("celery.exceptions", "SoftTimeLimitExceeded"),
        ("celery.exceptions", "TimeoutError"),
        ("celery.exceptions", "NotRegistered"),
        ("billiard.exceptions", "SoftTimeLimitExceeded"),
        ("billiard.exceptions", "WorkerLostError"),
        ("billiard.einfo", "Terminated"),
        ("kombu.exceptions", "EncodeError"),
        ("kombu.exceptions", "OperationalError"),
    ],
)
def test_the_errors_of_celery_are_ours(module: str, name: str) -> None:
    back = exception_from_data({"exc_type": name, "exc_message": ["x"], "exc_module": module})
    assert type(back) is getattr(errors, name)


def test_our_errors_are_stored_under_the_names_that_celery_knows() -> None:
    stored = {
        name: exception_to_data(getattr(errors, name)("a", "b"))["exc_module"]
        for name in (
            "ChordError",
            "SoftTimeLimitExceeded",
            "EncodeError",
            "MalformedMessage",
        )
    }
    assert stored == {
        "ChordError": "celery.exceptions",
        "SoftTimeLimitExceeded": "billiard.exceptions",
        "EncodeError": "kombu.exceptions",
        "MalformedMessage": "talo.errors",
    }


def test_arguments_that_cannot_be_written_become_their_repr() -> None:
    # Given
    class Thing:
        def __repr__(self) -> str:
            return "<thing>"

    # When
    data = exception_to_data(ValueError("x", Thing(), {1}, [b"\xff"]))
    # Then
    assert data["exc_message"] == ["x", "<thing>", "{1}", [b"\xff"]]
    assert exception_to_data(ValueError([2**70]), "msgpack")["exc_message"] == [f"[{2**70}]"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "SystemExit"),
        ("builtins", "KeyboardInterrupt"),
        ("builtins", "GeneratorExit"),
        ("builtins", "BaseException"),
        ("asyncio.exceptions", "CancelledError"),
        ("talo.errors", "WorkerShutdown"),
        ("celery.exceptions", "WorkerShutdown"),
        ("builtins", "eval"),
        ("builtins", "int"),
        ("builtins", "object"),
        ("os", "system"),
        ("os", "path.join"),
        ("subprocess", "Popen"),
        ("sys", "modules.os"),
        (__name__, "Outer"),
        (__name__, "Outer.Missing"),
        (__name__, "Outer.Inner.__init__"),
        (__name__, "Outer.Inner.__base__"),
        (__name__, "Sly"),
        (__name__, ""),
        (__name__, "."),
        ("", "ValueError"),
        ("no.such.module", "Error"),
    ],
)
def test_what_is_no_loaded_exception_class_gets_a_stand_in(module: str, name: str) -> None:
    back = exception_from_data({"exc_type": name, "exc_message": ["x"], "exc_module": module})
    assert isinstance(back, RemoteError)
    assert back.args == ("x",)


JUNK = [
    None,
    5,
    "text",
    [],
    {},
    {"exc_type": None},
    {"exc_type": 5, "exc_message": 5, "exc_module": 5},
    {"exc_type": "\0\ud800", "exc_module": "\0\ud800", "exc_message": "\ud800"},
    {"exc_type": "x" * 100_000, "exc_module": "y" * 100_000},
    {"exc_type": "ValueError", "exc_module": ["builtins"], "exc_message": {"a": 1}},
    {"exc_type": "UnicodeDecodeError", "exc_module": "builtins", "exc_message": ["x"]},
    {"exc_type": "ExceptionGroup", "exc_module": "builtins", "exc_message": ["x", ["y"]]},
    {"exc_type": "a." * 10_000, "exc_module": "builtins"},
]


@pytest.mark.parametrize("data", JUNK, ids=range(len(JUNK)))
def test_junk_is_an_exception_too(data: Any) -> None:
    back = exception_from_data(data)
    assert isinstance(back, Exception)
    assert isinstance(str(back), str)
    assert isinstance(repr(back), str)
    JSON.dumps(exception_to_data(back))


def test_an_exception_object_is_returned_as_it_is() -> None:
    exc = SystemExit(1)
    assert exception_from_data(exc) is exc


def test_stand_in_classes_do_not_pile_up() -> None:
    # When
    made = {type(exception_from_data({"exc_type": f"E{i}", "exc_module": "m"})) for i in range(5000)}
    assert len(made) == 5000
    made.clear()
    gc.collect()
    # Then
    assert len([cls for cls in RemoteError.__subclasses__() if cls.__module__ == "m"]) <= 512


class Tripwire(types.ModuleType):
    """A module that would run code when it is looked into, as lazy modules do."""

    touched: ClassVar[list[str]] = []

    def __getattribute__(self, name: str) -> Any:
        Tripwire.touched.append(name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        Tripwire.touched.append(name)
        return ValueError


@pytest.fixture
def tripwire() -> Iterator[str]:
    name = "talo_test_tripwire"
    sys.modules[name] = Tripwire(name)
    Tripwire.touched.clear()
    yield name
    del sys.modules[name]


@pytest.mark.promise("X01")
def test_looking_for_a_class_runs_no_code_of_the_module(tripwire: str) -> None:
    # When
    back = exception_from_data({"exc_type": "Lazy", "exc_message": ["x"], "exc_module": tripwire})
    # Then
    assert isinstance(back, RemoteError)
    assert Tripwire.touched == []


FORGED = """
import random, sys
from talo.wire import JSON, Message, decode, decode_result, exception_from_data, serializers, unpack
from talo.errors import WireError, SecurityError

accept = serializers.accept(["json"])
chance = random.Random(7)
imported = []
modules = sorted(sys.modules) + ["antigravity", "this", "celery.exceptions", "no.such", "os.path", "xml.sax"]
names = ["Error", "error", "system", "Popen", "ValueError", "TaskRevokedError", "Outer.Inner", "__import__", "a.b.c"]
names += [name for module in list(sys.modules.values()) for name in vars(module) if isinstance(name, str)]
values = [None, 1, "x", [], {}, ["x"], [1, 2, 3], "__import__('this')", {"__type__": "os.system", "__value__": "true"}]

def hook(event, args):
    if event == "import":
        imported.append(args[0])

def forged():
    data = {"exc_type": chance.choice(names), "exc_module": chance.choice(modules)}
    data["exc_message"] = chance.choice(values)
    status = chance.choice(["FAILURE", "RETRY", "SUCCESS", "x"])
    yield JSON.dumps({"task_id": "x", "status": status, "result": data})
    header = {"task": chance.choice(names), "id": "x", "compression": chance.choice([None, None, "os", "gzip"])}
    body = JSON.dumps([chance.choice(values), chance.choice([{}, *values]), chance.choice([None, *values])]).decode()
    kind = chance.choice(["application/json", "application/x-python-serialize", "application/x-yaml", "os"])
    yield JSON.dumps({"body": body, "headers": header, "content-type": kind, "properties": {}})

sys.addaudithook(hook)
read = 0
for _ in range(20_000):
    result, item = forged()
    try:
        decode_result(result, accept).value
        read += 1
    except (WireError, SecurityError):
        pass
    try:
        decode(unpack(item, "q"), accept)
        read += 1
    except WireError:
        pass
sys.stdout.write(f"{read > 0} {imported}")
"""


@pytest.mark.promise("X01")
def test_forged_results_and_messages_import_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FORGED], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("True []", "", 0)
