"""The table: every setting of Celery is answered, by every name it ever had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from talo.errors import ImproperlyConfigured
from talo.settings import OLD_NAMES, OPTIONS, Option, Same, Settings, Status, register_option, render
from talo.settings._kinds import INT, STR, maybe
from talo.settings.options import GROUPS

ROOT = Path(__file__).parents[3]
CELERY: list[dict[str, Any]] = json.loads((ROOT / "tests/data/celery_settings.json").read_text())
NAMES = [row["name"] for row in CELERY]

#: Where the effective default is documented in words, or "unset" means the same as empty.
WORDED = {"broker_url": "amqp://", "result_backend_max_retries": float("inf"), "override_backends": {}}

SAMPLES: list[Any] = [
    True,
    False,
    7,
    "some text",
    {"a": 1},
    ["a"],
    1,
    "shuffle",
    "classic",
    "threads",
    "spawn",
    "ERROR",
    "low-first",
    "Europe/Berlin",
]


def another_value(option: Option) -> Any:
    """Return a value that the setting's type takes and that is not its default, nor Celery's if it can be."""
    fitting = []
    for sample in SAMPLES:
        try:
            fitting.append((sample, option.type.convert(sample)))
        except (TypeError, ValueError):
            continue
    others = [pair for pair in fitting if not option.is_default(pair[1])]
    others = others or [pair for pair in fitting if pair[1] != option.default]
    unchanged = [sample for sample, kept in others if type(kept) is type(sample)]
    return (unchanged or [sample for sample, _ in others])[0]


def spellings(name: str) -> list[tuple[dict[str, Any], str | None]]:
    """Return every way to write a setting in a configuration object, with the namespace that goes with it."""
    option = OPTIONS[name]
    value = another_value(option)
    old = [({old_name: value}, None) for old_name in option.old]
    return [
        ({name: value}, None),
        *old,
        ({f"CELERY_{name.upper()}": value}, "CELERY"),
        ({f"PROJ_{name.upper()}": value}, "PROJ"),
        ({f"proj_{name}": value}, "proj"),
    ]


def test_the_reference_lists_235_settings():
    assert len(set(NAMES)) == 235


@pytest.mark.promise("C01")
@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_effective_or_refused_with_a_reason_under_every_name(name):
    option = OPTIONS[name]
    for source, namespace in spellings(name):
        # Given an app whose configuration names the setting in one of its spellings
        conf = Settings()

        # When it is loaded; Then it is taken, or refused with the reason
        if option.status is Status.REFUSED:
            with pytest.raises(ImproperlyConfigured) as error:
                conf.load_object(source, namespace)
            assert option.reason in str(error.value)
            assert next(iter(source)) in str(error.value)
        else:
            conf.load_object(source, namespace)
            expected = option.type.convert(next(iter(source.values())))
            assert conf[name] == getattr(conf, name) == expected
            assert all(conf[old] == expected for old in option.old)
            assert conf.origin(name) == "object dict"


@pytest.mark.promise("C01")
@pytest.mark.parametrize("row", CELERY, ids=NAMES)
def test_every_setting_has_the_default_and_the_old_names_that_celery_has(row):
    option = OPTIONS[row["name"]]
    default = WORDED.get(row["name"], row["default"])
    mine = option.celery_default
    assert (list(mine) if isinstance(mine, tuple) else None if isinstance(mine, Same) else mine) == default
    assert {OLD_NAMES[old] for old in row["old"]} <= {option.name}


@pytest.mark.promise("C01")
@pytest.mark.parametrize("name", NAMES)
def test_setting_a_default_is_never_an_error(name):
    option = OPTIONS[name]
    for value in (option.default, option.celery_default):
        if not isinstance(value, Same) and value is not None:
            conf = Settings({name: value})
            assert conf[name] == value


def test_every_default_is_what_its_own_type_would_make_of_it():
    for option in OPTIONS.values():
        for value in (option.default, option.celery_default):
            if isinstance(value, Same):
                assert value.name in OPTIONS
            elif value is not None:
                assert option.type.convert(value) == value, option.name


def test_every_setting_has_help_that_is_a_sentence():
    for option in OPTIONS.values():
        assert option.help.endswith((".", ")")), option.name
        assert option.help[0].isupper(), option.name


def test_an_old_name_never_means_another_setting_behind_the_namespace():
    for old, name in OLD_NAMES.items():
        behind = old.removeprefix("CELERY_").lower()
        assert behind not in OPTIONS or behind == name or not old.startswith("CELERY_")


def test_a_setting_that_is_not_effective_gives_its_reason():
    with pytest.raises(ValueError, match="without a reason"):
        Option("x_y", INT, 0, status=Status.REFUSED)


def test_talo_is_safe_by_default_and_celery_s_defaults_hold_where_asked_for():
    talo, celery = Settings(), Settings(celery=True)
    assert (talo.task_acks_late, celery.task_acks_late) == (True, False)
    assert (talo.task_reject_on_worker_lost, celery.task_reject_on_worker_lost) == (True, None)
    assert (talo.redis_priority_order, celery.redis_priority_order) == ("high-first", "low-first")
    assert (talo.broker_url, celery.broker_url) == ("sqlite:///talo.sqlite3", "amqp://")
    assert (talo.result_backend, celery.result_backend) == ("sqlite:///talo.sqlite3", None)
    assert (talo.strict, celery.strict) == (True, False)
    # What only makes it slower is not taken over.
    assert celery.worker_prefetch_multiplier is None


def test_talo_s_own_settings_are_effective():
    own = {option.name: option.default for option in OPTIONS.values() if option.own}
    assert own == {
        "task_cutover": (),
        "worker_lease": 30.0,
        "task_max_deliveries": 3,
        "task_dead_letters": True,
        "task_unknown_patience": 300.0,
        "dead_letter_expires": 30 * 86_400.0,
        "dead_letter_queue_expires": {},
        "publish_timeout": 5.0,
        "store_timeout": 5.0,
        "worker_grace": None,
        "worker_batch_time": 0.1,
        "worker_watchdog": 30.0,
        "worker_http": None,
        "metrics_max_tasks": 100,
        "tracing": False,
        "task_soft_size_limit": 1_048_576,
        "redis_priority_order": "high-first",
        "db_auto_migrate": True,
        "broker_ledger": False,
        "history": "sampled",
        "history_success_rate": 20.0,
        "history_expires": 2 * 86_400.0,
        "history_failure_expires": 14 * 86_400.0,
        "history_max_runs": None,
        "django_on_commit": True,
        "django_result_tables": False,
        "outbox": False,
        "outbox_lease": 10.0,
        "secret_keys": (),
    }
    assert all(OPTIONS[name].status is Status.EFFECTIVE for name in own)


def test_a_plug_in_registers_its_settings():
    # Given a setting that nobody knows
    with pytest.raises(ImproperlyConfigured):
        Settings({"plugin_colour": "red"})

    # When a plug-in registers it
    option = Option("plugin_colour", maybe(STR), "blue", ("CELERY_PLUGIN_COLOR",), "The colour of the plug-in.")
    register_option(option)
    register_option(option)

    # Then it is a setting like the others
    assert Settings().plugin_colour == "blue"
    assert Settings({"CELERY_PLUGIN_COLOR": "red"}).plugin_colour == "red"
    assert Settings().load_object({"CELERY_PLUGIN_COLOUR": "green"}, "CELERY") is None
    with pytest.raises(ImproperlyConfigured, match="there is a setting plugin_colour already"):
        register_option(Option("plugin_colour", INT, 3, help="Something else."))
    with pytest.raises(ImproperlyConfigured, match="BROKER_URL"):
        register_option(Option("plugin_url", STR, "", ("BROKER_URL",), "Takes another one's name."))


@pytest.mark.parametrize(
    ("path", "text"), [(render.REFERENCE_PATH, render.reference), (render.FIELDS_PATH, render.fields)]
)
def test_what_is_rendered_from_the_table_is_not_stale(path, text):
    registered = [option for group in GROUPS for option in group.options]
    assert len(registered) >= 246
    assert (ROOT / path).read_text(encoding="utf-8") == text(), "run: python -m talo.settings.render"


def test_the_reference_page_tells_status_reason_and_both_defaults():
    page = render.reference()
    entry = page.split("### task_acks_late\n")[1].split("\n### ")[0]
    assert "Default `True` · Celery: `False` · true or false · old name `CELERY_ACKS_LATE`" in entry
    assert "**Refused**: Talo has no Cassandra result backend" in page
    assert "(30 days)" in page
