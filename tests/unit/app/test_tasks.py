"""Defining tasks: the decorator, classes, options and names."""

from __future__ import annotations

import copy
import pickle
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from talo import Talo, Task, current_task, shared_task
from talo.app import current
from talo.errors import ImproperlyConfigured, InvalidTaskError, NotRegistered, Retry
from tests.unit.app.conftest import FarSide


class Model(BaseModel):
    """An argument that is more than plain data."""

    value: int


def test_a_function_becomes_a_task_under_its_path(app: Talo) -> None:
    # Given a decorated function
    @app.task
    def add(x: int, y: int) -> int:
        """Sums."""
        return x + y

    # Then it is registered by module and name, and still is the function when called
    assert add.name == f"{__name__}.add"
    assert app.tasks[add.name] is add
    assert add(1, 2) == 3
    assert add.__doc__ == "Sums."
    assert (add.max_retries, add.default_retry_delay) == (3, 180)


def test_main_stands_for_the_name_of_the_app(app: Talo) -> None:
    assert app.gen_task_name("add", "__main__") == "t.add"
    assert app.gen_task_name("add", "proj.tasks") == "proj.tasks.add"


def test_an_option_that_nobody_set_reads_the_setting_and_one_that_was_set_does_not(app: Talo) -> None:
    # Given two tasks, one with options
    @app.task
    def plain() -> None: ...

    @app.task(ignore_result=False, serializer="json", time_limit=5)
    def explicit() -> None: ...

    # When the settings change
    app.conf.update(task_ignore_result=True, task_serializer="msgpack", task_time_limit=60)

    # Then only the plain one follows
    assert (plain.ignore_result, plain.serializer, plain.time_limit) == (True, "msgpack", 60)
    assert (explicit.ignore_result, explicit.serializer, explicit.time_limit) == (False, "json", 5)


def test_early_acknowledgement_means_at_most_once_wherever_it_is_asked_for(app: Talo) -> None:
    # Given tasks that say it, do not say it, and say the opposite
    @app.task(acks_late=False)
    def early() -> None: ...

    @app.task
    def default() -> None: ...

    @app.task(at_most_once=True)
    def direct() -> None: ...

    class Late(Task[[], None]):
        acks_late = True
        name = "late"

        def run(self) -> None: ...

    late = app.register_task(Late)

    # Then the promise follows, also from the setting
    assert (early.at_most_once, default.at_most_once, direct.at_most_once, late.at_most_once) == (
        True,
        False,
        True,
        False,
    )
    app.conf.task_acks_late = False
    assert (default.at_most_once, late.at_most_once) == (True, False)


def test_unknown_options_become_attributes_and_near_misses_are_refused(app: Talo) -> None:
    # Given a plug-in's option
    @app.task(once={"graceful": True}, verbose_name="Add", request_context=True)
    def add() -> None: ...

    # Then it is kept
    assert add.once == {"graceful": True}  # type: ignore[attr-defined]

    # And a slip in a known name is not taken for one
    for wrong, right in [
        ("max_retires", "max_retries"),
        ("soft_timelimit", "soft_time_limit"),
        ("autoretry_fro", "autoretry_for"),
        ("ignore_results", "ignore_result"),
    ]:
        with pytest.raises(ImproperlyConfigured, match=f"{wrong}.*{right}"):
            app.task(name=f"bad.{wrong}", **{wrong: 1})(lambda: None)


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": "3"},
        {"bind": 1, "ignore_result": "yes"},
        {"autoretry_for": ("ValueError",)},
        {"time_limit": "10"},
        {"queue": "q", "priority": 1.5},
    ],
)
def test_options_of_a_wrong_type_are_one_clear_line(app: Talo, options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"task bad: \w+ must") as caught:
        app.task(name="bad", **options)(lambda: None)
    assert "\n" not in str(caught.value)


def test_a_soft_limit_above_the_hard_one_is_refused_at_the_definition(app: Talo) -> None:
    with pytest.raises(ValueError, match="soft_time_limit"):
        app.task(name="bad", time_limit=1, soft_time_limit=2)(lambda: None)


def test_a_bound_task_gets_itself_and_a_base_class_its_hooks(app: Talo) -> None:
    # Given a base with a hook and an attribute
    class Base(app.Task):  # type: ignore[misc, name-defined]
        abstract = True
        flavour = "sweet"
        seen: ClassVar[list[Any]] = []

        def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
            self.seen.append(retval)

    @app.task(bind=True, base=Base)
    def taste(self: Any) -> str:
        return str(self.flavour)

    # When it runs
    result = taste.apply()

    # Then both had their say
    assert result.get() == "sweet"
    assert Base.seen == ["sweet"]
    assert isinstance(taste, Base)


def test_task_classes_are_registered_by_object_or_class(app: Talo) -> None:
    # Given a class with run
    class Adder(Task[[int, int], int]):
        def run(self, x: int, y: int) -> int:
            return x + y

    # When it is registered
    task = app.register_task(Adder())

    # Then it has a name, belongs to the app whichever is the current one, and runs
    app.__class__("other", broker="memory://other2")
    assert task.name == f"{__name__}.Adder"
    assert task.app is app
    assert task.apply((1, 2)).get() == 3


def test_assigning_app_task_changes_the_base_of_later_tasks(app: Talo) -> None:
    # Given the usual recipe of Flask projects
    class ContextTask(app.Task):  # type: ignore[misc, name-defined]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return ("in context", self.run(*args, **kwargs))

    app.Task = ContextTask

    # When a task is defined and run, then the override is used
    @app.task
    def add(x: int) -> int:
        return x

    assert add.apply((1,)).get() == ("in context", 1)


def test_task_cls_may_be_a_dotted_path() -> None:
    with Talo("t", broker="memory://cls", task_cls=f"{__name__}:Custom", set_as_current=False) as app:
        assert app.task(lambda: 1).marker == "custom"  # type: ignore[attr-defined]


class Custom(Task[..., Any]):
    """What ``task_cls`` names."""

    marker = "custom"


def test_the_request_is_empty_outside_and_marked_when_called_directly(app: Talo) -> None:
    # Given a task that looks at its request
    @app.task(bind=True)
    def look(self: Any) -> tuple[bool, bool, Any]:
        return self.request.called_directly, bool(current_task), current_task._get_current_object() is self

    # Then outside there is no id and no current task
    assert look.request.id is None
    assert not current_task

    # And inside a direct call it says so
    assert look() == (True, True, True)


def test_retry_of_a_direct_call_raises_what_went_wrong(app: Talo) -> None:
    # Given a task that retries, when it is called as a function
    @app.task(bind=True)
    def flaky(self: Any, why: Exception | None) -> None:
        raise self.retry(exc=why)

    # Then the reason itself is raised, or Retry if there is none
    with pytest.raises(KeyError):
        flaky(KeyError("x"))
    with pytest.raises(Retry):
        flaky(None)


def test_retry_runs_the_task_again_until_its_tries_are_used_up(app: Talo) -> None:
    # Given a task that fails twice
    tries: list[int] = []

    @app.task(bind=True, max_retries=2)
    def flaky(self: Any, fails: int) -> str:
        tries.append(self.request.retries)
        if self.request.retries < fails:
            raise self.retry(exc=ValueError("no"), countdown=0)
        return "done"

    # Then it succeeds at the third try, and fails with the reason when that is not enough
    assert flaky.apply((2,)).get() == "done"
    assert tries == [0, 1, 2]
    with pytest.raises(ValueError, match="no"):
        flaky.apply((3,)).get()


def test_annotations_change_tasks_by_name_or_all_of_them(app: Talo) -> None:
    # Given annotations for all tasks and for one
    def on_failure(self: Any, *args: Any) -> str:
        return f"annotated {self.name}"

    app.conf.task_annotations = {"*": {"rate_limit": "1/s"}, "one": {"priority": 5, "on_failure": on_failure}}

    @app.task(name="one")
    def one() -> None: ...

    @app.task(name="two")
    def two() -> None: ...

    # When the app is finalised
    app.finalize()

    # Then they hold, and functions are methods
    assert (one.rate_limit, two.rate_limit, one.priority) == ("1/s", "1/s", 5)
    assert one.on_failure(ValueError(), "", (), {}, None) == "annotated one"  # type: ignore[func-returns-value]


def test_a_shared_task_exists_before_any_app_and_belongs_to_the_current_one() -> None:
    # Given a shared task, defined while there is no app that matters
    @shared_task(name=f"{__name__}.shared")
    def double(x: int) -> int:
        return 2 * x

    before = current._State.current
    try:
        # When apps come and go
        with Talo("one", broker="memory://one") as one, Talo("two", broker="memory://two") as two:
            # Then it is each app's own task, and the stand-in is that of the current app
            assert one.tasks[double.name] is not two.tasks[double.name]
            assert double.app is two
            one.set_current()
            assert double.app is one
            assert isinstance(double, Task)
            assert double(4) == 8
            result = double.delay(4)
            assert FarSide(one).message().id == result.id
    finally:
        current._State.current = before


def test_a_task_is_shared_with_later_apps_unless_it_says_no(app: Talo) -> None:
    # Given a shared task and a private one
    @app.task(name="everybody")
    def everybody() -> int:
        return 1

    @app.task(name="mine", shared=False)
    def mine() -> int:
        return 2

    # When another app is finalised
    with Talo("other", broker="memory://other", set_as_current=False) as other:
        # Then it has its own copy of the first only
        assert other.tasks["everybody"] is not everybody
        assert other.tasks["everybody"].app is other
        assert "mine" not in other.tasks


def test_unknown_tasks_are_not_registered(app: Talo) -> None:
    with pytest.raises(NotRegistered):
        app.tasks["nobody"]
    with pytest.raises(NotRegistered):
        app.tasks.unregister("nobody")
    with pytest.raises(InvalidTaskError):
        app.tasks.register(Task())


def test_an_app_that_must_be_finalised_by_hand_says_so() -> None:
    with Talo("t", broker="memory://hand", autofinalize=False, set_as_current=False) as app:
        with pytest.raises(RuntimeError, match="finalize"):
            assert app.tasks
        app.finalize()
        assert app.tasks == app._tasks


def test_tasks_are_pickled_and_copied_by_name(app: Talo) -> None:
    # Given a task, when it is pickled, then the same object comes back
    @app.task
    def add(x: int) -> int:
        return x

    assert pickle.loads(pickle.dumps(add)) is add
    assert copy.copy(add) is add


def test_filter_may_replace_the_task(app: Talo) -> None:
    @app.task(filter=lambda task: ("filtered", task.name), name="f")
    def add() -> None: ...

    assert add == ("filtered", "f")


def test_pydantic_arguments_are_validated_and_results_dumped(app: Talo) -> None:
    # Given a task on models
    @app.task(pydantic=True)
    def bump(model: Model, by: int = 1) -> Model:
        assert isinstance(model, Model)
        return Model(value=model.value + by)

    # Then plain data come in and go out, and bad data are refused
    assert bump.apply(({"value": 1},)).get() == {"value": 2}
    with pytest.raises(ValueError, match="value"):
        bump.apply(({"value": "x"},)).get()
    with pytest.raises(TypeError):
        bump.delay()  # type: ignore[call-arg]
