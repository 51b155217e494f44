"""The values of one app: who wins, where each came from, freezing, access, secrets."""

from __future__ import annotations

import sys
import types

import pytest

from talo.errors import ImproperlyConfigured
from talo.settings import SafeURL, Settings, hide_password
from talo.settings.secret import hide


class Config:
    """A configuration class, with what classes carry along."""

    broker_url = "redis://object"
    worker_concurrency = 2
    hostname = "not a setting"

    def task_helper(self):
        return 1


@pytest.fixture
def module(request):
    """A module that can be imported by its name, gone after the test."""
    module = types.ModuleType("settings_of_a_test")
    sys.modules[module.__name__] = module
    request.addfinalizer(lambda: sys.modules.pop(module.__name__))
    return module


@pytest.mark.promise("C03")
def test_command_line_beats_environment_beats_code_beats_object_beats_app_defaults():
    conf = Settings()
    steps = [
        (lambda: None, 4, "default"),
        (lambda: conf.add_defaults({"worker_max_tasks_per_child": 1}), 1, "app defaults"),
        (lambda: conf.load_object({"worker_max_tasks_per_child": 2}), 2, "object dict"),
        (lambda: conf.update(worker_max_tasks_per_child=3), 3, "code"),
        (
            lambda: conf.load_environment({"TALO_WORKER_MAX_TASKS_PER_CHILD": "4"}),
            4,
            "environment variable TALO_WORKER_MAX_TASKS_PER_CHILD",
        ),
        (lambda: conf.load_command_line(["worker.max_tasks_per_child=5"]), 5, "command line"),
    ]
    for step, value, origin in steps:
        step()
        assert conf.origin("worker_max_tasks_per_child") == origin
        if origin != "default":
            assert conf.worker_max_tasks_per_child == value


@pytest.mark.promise("C03")
def test_who_wins_does_not_depend_on_the_order_of_setting():
    conf = Settings()
    conf.load_command_line(["task_serializer=a"])
    conf.load_environment({"TALO_TASK_SERIALIZER": "b", "TALO_RESULT_SERIALIZER": "b"})
    conf.update(task_serializer="c", result_serializer="c", event_serializer="c")
    conf.load_object(
        dict.fromkeys(("task_serializer", "result_serializer", "event_serializer", "task_default_queue"), "d")
    )
    conf.add_defaults(dict.fromkeys(("task_serializer", "task_default_queue"), "e") | {"task_default_exchange": "e"})
    names = ("task_serializer", "result_serializer", "event_serializer", "task_default_queue", "task_default_exchange")
    assert [conf[name] for name in names] == ["a", "b", "c", "d", "e"]


@pytest.mark.promise("C03")
def test_every_setting_is_explained_with_its_value_and_origin():
    conf = Settings({"broker_url": "redis://u:word@h"})
    rows = {name: (value, origin) for name, value, origin in conf.explain()}
    assert rows["broker_url"] == ("'redis://u:**@h'", "code")
    assert rows["result_backend"] == ("'redis://u:**@h'", "default (same as broker_url)")
    assert rows["task_serializer"] == ("'json'", "default")
    assert len(rows) >= 246
    assert [row[0] for row in conf.explain(with_defaults=False)] == ["broker_url"]


def test_origins_name_the_object_and_the_variable(module):
    module.task_serializer = "yaml"
    conf = Settings()
    conf.load_object("settings_of_a_test")
    assert conf.origin("task_serializer") == "object settings_of_a_test"
    conf.load_object(module)
    assert conf.origin("CELERY_TASK_SERIALIZER") == "object settings_of_a_test"
    conf.load_environment({"CELERY_BROKER_URL": "redis://h"})
    assert conf.origin("broker_url") == "environment variable CELERY_BROKER_URL"
    with pytest.raises(KeyError):
        conf.origin("nothing")


def test_another_object_takes_the_place_of_the_first_but_not_of_code():
    conf = Settings({"task_acks_late": False})
    conf.load_object({"task_serializer": "a", "worker_concurrency": 3})
    conf.load_object({"task_default_queue": "q"})
    assert (conf.task_serializer, conf.worker_concurrency) == ("json", None)
    assert (conf.task_default_queue, conf.task_acks_late) == ("q", False)


def test_an_object_is_a_class_an_instance_a_module_a_path_or_a_dictionary(module):
    module.BROKER_URL = "redis://module"
    module.Inner = Config
    for source, url in (
        (Config, "redis://object"),
        (Config(), "redis://object"),
        (module, "redis://module"),
        ("settings_of_a_test", "redis://module"),
        ("settings_of_a_test:Inner", "redis://object"),
        ("settings_of_a_test.Inner", "redis://object"),
        ({"broker_url": "redis://dict"}, "redis://dict"),
    ):
        conf = Settings()
        conf.load_object(source)
        assert conf.broker_url == url


def test_of_a_module_only_what_was_meant_as_a_setting_is_checked(module):
    # Given a module with imports, helpers and constants, and settings of other packages
    module.os = sys
    module.Path = Config
    module.task_function = test_origins_name_the_object_and_the_variable
    module.DEBUG = True
    module.DATABASES = {}
    module.hostname = "h"
    module.task_serializer = "yaml"

    # When it is loaded; Then nothing of that disturbs
    conf = Settings()
    conf.load_object(module)
    assert conf.changes == {"task_serializer": "yaml"}

    # And what begins like a setting, or is a slip away from one, is an error
    for wrong in ("task_typo_here", "CELERY_TYPO_HERE", "timezon", "BROKER_URI"):
        setattr(module, wrong, 1)
        with pytest.raises(ImproperlyConfigured, match=f"{wrong} is not a setting"):
            Settings().load_object(module)
        delattr(module, wrong)


def test_a_path_that_leads_nowhere_is_an_error_unless_silent():
    with pytest.raises(ImportError):
        Settings().load_object("no_such_module_here")
    conf = Settings()
    conf.load_object("no_such_module_here", silent=True)
    assert conf.changes == {}


@pytest.mark.promise("C01")
def test_new_and_old_names_do_not_mix_in_one_source():
    with pytest.raises(ImproperlyConfigured) as error:
        Settings(celery=True).load_object({"task_serializer": "json", "CELERY_ALWAYS_EAGER": True})
    assert "beside task_serializer write the new names of\n  CELERY_ALWAYS_EAGER -> task_always_eager" in str(
        error.value
    )


def test_behind_a_namespace_old_names_are_read_too_and_new_ones_win():
    conf = Settings()
    conf.load_object(
        {
            "CELERY_BROKER_URL": "redis://new",
            "BROKER_URL": "redis://old",
            "CELERY_ALWAYS_EAGER": True,
            "CELERYD_CONCURRENCY": 9,
            "CELERY_TASK_RESULT_EXPIRES": 3,
            "SECRET_KEY": "x",
        },
        "CELERY",
    )
    assert conf.changes == {
        "broker_url": "redis://new",
        "task_always_eager": True,
        "worker_concurrency": 9,
        "result_expires": 3.0,
    }


def test_the_environment_is_read_by_both_prefixes_and_talo_s_wins():
    conf = Settings()
    conf.load_environment(
        {
            "CELERY_BROKER_URL": "redis://celery",
            "CELERY_RESULT_BACKEND": "redis://results",
            "TALO_BROKER_URL": "redis://talo",
            "TALO_TASK_ACKS_LATE": "off",
            "TALO_BROKER_READ_URL": "",
            "TALO_BENCHMARK": "not a setting",
            "CELERY_TASK_SERIALIZER": "not read from there",
        }
    )
    assert conf.changes == {"broker_url": "redis://talo", "result_backend": "redis://results", "task_acks_late": False}
    with pytest.raises(
        ImproperlyConfigured, match="TALO_WORKER_LEASES is not a setting; did you mean TALO_WORKER_LEASE"
    ):
        conf.load_environment({"TALO_WORKER_LEASES": "3"})


def test_the_command_line_takes_name_equals_value():
    conf = Settings()
    conf.load_command_line(
        ["worker.concurrency=4", "task_acks_late=no", "broker_url=redis://h/?a=b", "CELERY_RESULT_SERIALIZER=yaml"]
    )
    assert (conf.worker_concurrency, conf.task_acks_late) == (4, False)
    assert (conf.broker_url, conf.result_serializer) == ("redis://h/?a=b", "yaml")
    with pytest.raises(ImproperlyConfigured, match="name=value"):
        conf.load_command_line(["worker.concurrency"])


def test_app_defaults_are_asked_for_when_a_value_is_first_read():
    asked = []
    conf = Settings()
    conf.add_defaults(lambda: asked.append(1) or {"task_default_queue": "q"})
    conf.task_serializer = "yaml"
    assert asked == []
    assert conf.task_default_queue == "q"
    assert conf.task_default_exchange == "q"
    assert asked == [1]


def test_a_lazy_object_is_loaded_when_a_value_is_first_read_and_fails_at_each_reading(module):
    conf = Settings()
    conf.load_object("settings_of_a_test", lazy=True)
    module.task_serializer = "yaml"
    assert conf.task_serializer == "yaml"

    with pytest.raises(ImportError):
        conf.load_object("no_such_module_here")
    assert conf.task_serializer == "yaml"

    conf.load_object("no_such_module_here", lazy=True)
    for _ in range(2):
        with pytest.raises(ImportError):
            _ = conf.task_serializer


def test_an_object_that_reads_settings_while_it_is_loaded_sees_what_there_is():
    conf = Settings({"task_serializer": "yaml"})
    seen = []
    conf.add_defaults(lambda: seen.append(conf.task_serializer) or {"task_default_queue": "q"})
    assert conf.task_default_queue == "q"
    assert seen == ["yaml"]


@pytest.mark.promise("C03")
def test_a_frozen_app_refuses_changes_and_names_the_setting():
    conf = Settings()
    conf.freeze()
    conf.freeze()
    for change in (
        lambda: setattr(conf, "task_acks_late", False),
        lambda: conf.update({"CELERY_ACKS_LATE": False}),
        lambda: conf.__setitem__("task_acks_late", False),
        lambda: conf.load_object({"task_acks_late": False}),
        lambda: conf.load_environment({"TALO_TASK_ACKS_LATE": "0"}),
    ):
        with pytest.raises(ImproperlyConfigured, match="task_acks_late cannot change: the settings were frozen"):
            change()
    for later in (lambda: conf.add_defaults({}), lambda: conf.load_object({}, lazy=True)):
        with pytest.raises(ImproperlyConfigured, match="frozen"):
            later()
    assert conf.task_acks_late is True
    conf.thaw()
    conf.task_acks_late = False
    assert (conf.task_acks_late, conf.frozen) == (False, False)


def test_a_value_follows_the_one_it_is_the_same_as():
    conf = Settings()
    assert conf.result_backend == conf.broker_read_url == "sqlite:///talo.sqlite3"
    conf.broker_url = "redis://h"
    assert (conf.result_backend, conf.broker_read_url, conf.broker_write_url) == ("redis://h",) * 3
    conf.result_backend = "disabled://"
    assert conf.result_backend == "disabled://"
    conf.task_default_queue = "q"
    assert (conf.task_default_exchange, conf.task_default_routing_key) == ("q", "q")


def test_a_default_that_is_changed_in_place_is_this_app_s_own_and_counts_as_a_change():
    one, two = Settings(), Settings()
    one.beat_schedule["x"] = {"task": "t"}
    one.task_serializer = "yaml"
    assert one.beat_schedule == {"x": {"task": "t"}}
    assert one.origin("beat_schedule") == "code (changed in place)"
    assert one.changes == {"beat_schedule": {"x": {"task": "t"}}, "task_serializer": "yaml"}
    assert two.beat_schedule == {}


def test_settings_are_a_mapping_under_new_old_and_namespaced_names():
    conf = Settings()
    conf["CELERY_ALWAYS_EAGER"] = True
    assert conf["task_always_eager"] is conf["CELERY_ALWAYS_EAGER"] is conf["CELERY_TASK_ALWAYS_EAGER"] is True
    assert "BROKER_URL" in conf and "nothing" not in conf and 5 not in conf
    assert dict(conf)["task_always_eager"] is True
    assert len(conf) == len(list(conf)) == len(conf.keys())
    assert conf.get("BROKER_URL") == "sqlite:///talo.sqlite3"
    del conf.task_always_eager
    assert conf.task_always_eager is False
    with pytest.raises(KeyError):
        del conf["task_always_eager"]
    conf.task_serializer = "yaml"
    conf.clear()
    assert conf.changes == {}


def test_lookups_by_several_names_and_parts():
    conf = Settings({"result_extended": True})
    assert conf.first("nothing", "worker_concurrency", "BROKER_URL") == "sqlite:///talo.sqlite3"
    assert conf.first("nothing", "NOTHING") is None
    assert conf.find_value_for_key("extended", "result") is True
    assert conf.find_value_for_key("result_extended") is True
    assert conf.get_by_parts("result", "extended") is True
    with pytest.raises(KeyError):
        conf.find_value_for_key("nothing", "result")


def test_the_class_knows_its_fields():
    assert Settings.task_acks_late.help.startswith("A message ends")


PASSWORD = "tr0ub4dor"


def test_no_secret_is_shown():
    # Given secrets in every place where one may stand
    conf = Settings(
        {
            "broker_url": [f"redis://user:{PASSWORD}@h1/0", f"redis://:{PASSWORD}@h2/0"],
            "broker_transport_options": {"sentinel_kwargs": {"password": PASSWORD}, "url": f"redis://:{PASSWORD}@h"},
            "security_key_password": PASSWORD,
            "plugin_api_key": PASSWORD,
            "plugin_urls": [f"amqp://u:{PASSWORD}@h//"],
        },
        celery=True,
    )

    # When they are shown, or stand in an error; Then the secrets are not
    shown = [
        repr(conf),
        str(conf),
        conf.humanize(),
        conf.humanize(with_defaults=True),
        repr(conf.table()),
        repr(conf.explain()),
    ]
    for name, value in (
        ("redis_password", PASSWORD),
        ("broker_pool_limit", f"redis://u:{PASSWORD}@h"),
        ("security_key_password", [PASSWORD]),
    ):
        with pytest.raises(ImproperlyConfigured) as error:
            conf[name] = value
        shown.append(str(error.value))
    assert all(PASSWORD not in text for text in shown)

    # And whoever needs them gets them
    assert conf.broker_url == f"redis://user:{PASSWORD}@h1/0;redis://:{PASSWORD}@h2/0"
    assert PASSWORD in conf.humanize(censored=False)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("redis://u:p@h:1/0", "redis://u:**@h:1/0"),
        ("redis://:p@h", "redis://:**@h"),
        ("amqp://u:p@ss@h//", "amqp://u:**@h//"),
        ("rediss://u:a/b@h:6379/1", "rediss://u:**@h:6379/1"),
        ("sentinel://:a@h1;sentinel://:b@h2:26379/0", "sentinel://:**@h1;sentinel://:**@h2:26379/0"),
        ("cannot reach redis://u:p@h now", "cannot reach redis://u:**@h now"),
        ("http://h/p?password=x&y=1", "http://h/p?password=**&y=1"),
        ("amqp://guest@h//", "amqp://guest@h//"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("sqlite:///talo.sqlite3", "sqlite:///talo.sqlite3"),
    ],
)
def test_the_password_of_a_url_is_hidden(url, safe):
    assert hide_password(url) == safe
    hidden = SafeURL(url)
    assert (str(hidden), f"{hidden}", repr(hidden)) == (safe, safe, repr(safe))
    assert hidden == url
    assert hidden.reveal() == url
    assert type(hidden.reveal()) is str


def test_nothing_and_switches_are_never_masked():
    assert hide(None, "redis_password") is None
    assert hide(False, "token") is False
    assert hide("", "token") == ""
    assert hide(("a", "redis://:p@h")) == ("a", "redis://:**@h")


def test_an_override_wins_over_everything_and_is_taken_back():
    conf = Settings({"worker_concurrency": 2})
    conf.load_command_line(["worker_concurrency=3"])
    with conf.overridden(worker_concurrency=4, task_default_queue="q"):
        assert (conf.worker_concurrency, conf.origin("worker_concurrency")) == (4, "override")
        with conf.overridden(worker_concurrency=5):
            assert (conf.worker_concurrency, conf.task_default_queue) == (5, "q")
        with pytest.raises(ImproperlyConfigured, match="worker_concurrency"):
            with conf.overridden(worker_concurrency="many"):
                raise AssertionError("not reached")
        assert conf.worker_concurrency == 4
    assert (conf.worker_concurrency, conf.task_default_queue) == (3, "celery")


def test_an_object_that_has_changed_is_read_anew():
    source = {"worker_concurrency": 2, "task_default_queue": "a"}
    conf = Settings()
    conf.reload()
    conf.load_object(source)
    assert conf.worker_concurrency == 2
    source["worker_concurrency"] = 3
    del source["task_default_queue"]
    assert (conf.worker_concurrency, conf.task_default_queue) == (2, "a")
    conf.reload()
    assert (conf.worker_concurrency, conf.task_default_queue) == (3, "celery")


def test_one_setting_under_both_prefixes_is_an_error_that_names_both():
    class Both:
        CELERY_TASK_ACKS_LATE = True
        TALO_TASK_ACKS_LATE = False
        TALO_TASK_TRACK_STARTED = True

    for namespace in ("CELERY", "TALO"):
        with pytest.raises(ImproperlyConfigured, match="CELERY_TASK_ACKS_LATE") as error:
            Settings(celery=True).load_object(Both, namespace)
        assert "TALO_TASK_ACKS_LATE" in str(error.value) and "keep one of each" in str(error.value)
