"""Checking: wrong types, unknown names, several problems at once."""

from __future__ import annotations

import datetime as dt
import random

import pytest

from talo.errors import ImproperlyConfigured
from talo.settings import OLD_NAMES, OPTIONS, Settings, check
from talo.settings._option import Status
from talo.settings.load import unknown_name
from talo.util.names import distance, import_path, nearest
from talo.wire.queues import Queue

LETTERS = "abcdefghijklmnopqrstuvwxyz_"


def misspell(name: str, chance: random.Random) -> str:
    """Return the name with one slip of the kinds that people make."""
    place = chance.randrange(1, len(name) - 1)
    letter = chance.choice(LETTERS)
    letter = letter.upper() if name.isupper() else letter
    kind = chance.choice(["drop", "double", "insert", "wrong", "swap", "underscore", "words"])
    if kind == "drop":
        return name[:place] + name[place + 1 :]
    if kind == "double":
        return name[:place] + name[place] + name[place:]
    if kind == "insert":
        return name[:place] + letter + name[place:]
    if kind == "wrong":
        return name[:place] + letter + name[place + 1 :]
    if kind == "swap":
        return name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    if kind == "underscore":
        return name.replace("_", "", 1)
    return "_".join(reversed(name.split("_", 1)))


@pytest.mark.promise("C02")
def test_of_500_misspellings_all_are_reported_and_the_right_name_comes_first():
    # Given 500 misspellings of new and of old names
    chance = random.Random(20_240_501)
    usable = [name for name, option in OPTIONS.items() if option.status is not Status.REFUSED and name.islower()]
    known = set(OPTIONS) | set(OLD_NAMES)
    cases: list[tuple[str, str]] = []
    while len(cases) < 500:
        right = chance.choice(usable if chance.random() < 0.7 else list(OLD_NAMES))
        wrong = misspell(right, chance)
        if wrong not in known:
            cases.append((wrong, right))

    # When each is set; Then it is an error
    found = 0
    for wrong, right in cases:
        with pytest.raises(ImproperlyConfigured, match="is not a setting") as error:
            check({wrong: 1})
        text = str(error.value)
        assert text.startswith(wrong)
        found += text.endswith(f"did you mean {right}?")
    # And the right name is the one that is suggested
    assert found >= 475, f"{found} of 500"


@pytest.mark.promise("C02")
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("tsk_serializer", "task_serializer"),
        ("task_acks_lates", "task_acks_late"),
        ("CELERY_ACK_LATE", "CELERY_ACKS_LATE"),
        ("CELERY_TASK_SERIALISER", "CELERY_TASK_SERIALIZER"),
        ("prefetch_multiplier", "worker_prefetch_multiplier"),
        ("worker_multiplier_prefetch", "worker_prefetch_multiplier"),
        ("workerconcurrency", "worker_concurrency"),
    ],
)
def test_the_nearest_name_is_given_in_the_style_of_the_wrong_one(wrong, right):
    assert unknown_name(wrong) == f"{wrong} is not a setting; did you mean {right}?"


def test_behind_a_namespace_the_suggestion_stands_behind_it_too():
    with pytest.raises(
        ImproperlyConfigured, match="PROJ_TASK_SERIALISER is not a setting; did you mean PROJ_TASK_SERIALIZER"
    ):
        Settings().load_object({"PROJ_TASK_SERIALISER": "json"}, "PROJ")


def test_a_name_that_is_near_to_nothing_gets_no_suggestion():
    assert unknown_name("qqqqqqq") == "qqqqqqq is not a setting"


def test_all_problems_come_in_one_error_and_nothing_is_set():
    conf = Settings()
    with pytest.raises(ImproperlyConfigured) as error:
        conf.update(tsk_serializer="json", task_acks_late="perhaps", cassandra_servers=["a"], worker_concurrency=2)
    assert str(error.value).splitlines() == [
        "3 settings cannot be used:",
        "  cassandra_servers is refused: Talo has no Cassandra result backend; results go to redis:// or sqlite://",
        "  task_acks_late = 'perhaps': expected true or false",
        "  tsk_serializer is not a setting; did you mean task_serializer?",
    ]
    assert conf.worker_concurrency is None


def test_a_lenient_app_keeps_unknown_names_as_attributes_and_items():
    conf = Settings({"singleton_lock_expiry": 5, "ONCE": {"backend": "x"}}, celery=True)
    conf.task_tenant_cache_seconds = 30
    assert conf.singleton_lock_expiry == conf["singleton_lock_expiry"] == conf.get("singleton_lock_expiry") == 5
    assert conf.ONCE == {"backend": "x"}
    assert conf["task_tenant_cache_seconds"] == 30
    assert "ONCE" in conf and "ONCE" in list(conf.keys())
    assert conf.get("nothing", 7) == 7
    with pytest.raises(AttributeError):
        _ = conf.nothing
    with pytest.raises(KeyError):
        _ = conf["nothing"]


def test_a_lenient_app_keeps_unknown_names_behind_the_namespace_under_their_short_form():
    conf = Settings(celery=True)
    conf.load_object({"CELERY_REDBEAT_REDIS_URL": "redis://h", "DEBUG": True}, "CELERY")
    assert conf.redbeat_redis_url == conf["CELERY_REDBEAT_REDIS_URL"] == "redis://h"
    assert "DEBUG" not in conf


def test_a_lenient_app_still_refuses_wrong_types_and_says_probable_misspellings():
    conf = Settings({"task_serialiser": "json", "redbeat_lock_key": "k"}, celery=True)
    assert conf.notes() == ["task_serialiser is not a setting; did you mean task_serializer?"]
    with pytest.raises(ImproperlyConfigured, match="worker_concurrency = 'many': expected a whole number, or None"):
        conf.worker_concurrency = "many"


def test_a_coming_setting_is_kept_and_noted():
    conf = Settings({"broker_heartbeat_checkrate": 10, "broker_login_method": None, "task_acks_late": False})
    assert conf.broker_heartbeat_checkrate == 10.0
    assert conf.notes() == ["broker_heartbeat_checkrate has no effect yet: is not kept on RabbitMQ yet"]


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("task_acks_late", "false", False),
        ("task_acks_late", 0, False),
        ("task_acks_late", "Yes", True),
        ("worker_concurrency", "8", 8),
        ("worker_concurrency", "none", None),
        ("worker_concurrency", 8.0, 8),
        ("result_expires", dt.timedelta(hours=2), 7200.0),
        ("result_expires", "2h", 7200.0),
        ("result_expires", "250ms", 0.25),
        ("result_expires", None, None),
        ("broker_url", ["redis://a", "redis://b"], "redis://a;redis://b"),
        ("accept_content", "json, pickle", ("json", "pickle")),
        ("accept_content", {"json", "yaml"}, ("json", "yaml")),
        ("imports", "proj.tasks", ("proj.tasks",)),
        ("broker_transport_options", '{"visibility_timeout": 60}', {"visibility_timeout": 60}),
        ("worker_pool", "Threads", "threads"),
        ("task_protocol", "1", 1),
        ("task_default_delivery_mode", "transient", 1),
        ("worker_umask", "022", "022"),
        ("timezone", "Europe/Berlin", "Europe/Berlin"),
        ("timezone", dt.UTC, dt.UTC),
        ("task_queues", [Queue("a"), "b"], [Queue("a"), "b"]),
        ("task_queues", {"a": {"routing_key": "x"}, "b": {}}, {"a": {"routing_key": "x"}, "b": {}}),
        ("task_routes", {"proj.*": {"queue": "q"}}, {"proj.*": {"queue": "q"}}),
        ("beat_scheduler", "proj.beat:Own", "proj.beat:Own"),
    ],
)
def test_a_value_is_kept_in_the_form_of_its_type(name, given, kept):
    conf = Settings({name: given})
    assert conf[name] == kept
    assert type(conf[name]) is type(kept)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("task_acks_late", 2, "task_acks_late = 2: expected true or false"),
        ("worker_concurrency", True, "worker_concurrency = True: expected a whole number, or None"),
        ("worker_concurrency", 1.5, "worker_concurrency = 1.5: expected a whole number, or None"),
        ("task_protocol", 3, "task_protocol = 3: expected 1 or 2"),
        ("accept_content", 5, "accept_content = 5: expected a list of texts"),
        ("accept_content", [5], "accept_content = [5]: expected a list of texts"),
        ("beat_schedule", ["x"], "beat_schedule = ['x']: expected a dictionary"),
        (
            "worker_pool",
            "gevent",
            "worker_pool = 'gevent': expected 'processes', 'prefork', 'threads', 'asyncio', 'solo' or 'custom'",
        ),
        (
            "timezone",
            "Mars/Olympus",
            "timezone = 'Mars/Olympus': expected the name of an IANA time zone, or a tzinfo, or None",
        ),
        ("task_queues", [{"nmae": "x"}], "(a queue has no nmae)"),
        (
            "task_routes",
            5,
            "task_routes = 5: expected a dictionary, a list, a callable or the dotted path of one, or None",
        ),
        ("result_expires", -1, "result_expires = -1: expected seconds"),
        ("worker_lease", 0.5, "worker_lease = 0.5: expected seconds, at least 1 (a number, "),
        ("broker_url", None, "broker_url = None: expected a URL"),
    ],
)
def test_a_wrong_type_is_told_in_one_line_with_setting_value_and_what_was_expected(name, value, line):
    with pytest.raises(ImproperlyConfigured) as error:
        Settings({name: value})
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_of_the_application_stays_its_own_object():
    modules = ["a"]
    conf = Settings({"imports": modules})
    modules.append("b")
    assert conf.imports == ["a", "b"]


def test_distance_counts_slips():
    assert distance("abc", "abc") == 0
    assert distance("abc", "acb") == 1
    assert distance("abc", "ab") == 1
    assert distance("kitten", "sitting") == 3
    assert distance("abcdef", "uvwxyz", limit=3) == 3


def test_nearest_prefers_the_fewest_slips():
    assert nearest("wirker_pool", ["worker_pools", "worker_pool", "worker_lease"]) == "worker_pool"
    assert nearest("usr", ["uses", "user"]) == "user"
    assert nearest("xyz", ["something_else"]) is None


def test_a_dotted_path_leads_to_modules_and_what_is_in_them():
    assert import_path("talo.errors").__name__ == "talo.errors"
    assert import_path("talo.errors:TaloError.__name__") == "TaloError"
    assert import_path("talo.errors.TaloError").__name__ == "TaloError"
    with pytest.raises(ImportError):
        import_path("talo.nothing_here")
    with pytest.raises(ImportError):
        import_path("no_such_package.at.all")
    with pytest.raises(AttributeError):
        import_path("talo.errors:Nothing")
