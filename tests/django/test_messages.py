"""What is marked for translation is translated, and the admin speaks it."""

from __future__ import annotations

import gettext
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.django.site import Site
from tests.django.test_admin import SETTINGS
from tests.workers import ROOT


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("messages", ROOT / "tools/messages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


messages = _tool()


def test_every_marked_text_is_translated_with_its_placeholders_and_compiled() -> None:
    assert list(messages.faults()) == []


def test_a_missing_a_stale_and_a_wrong_translation_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a catalogue from which one text was lost, with one that is not marked, and one without its placeholder
    monkeypatch.setattr(messages, "LOCALE", tmp_path)
    monkeypatch.setattr(messages, "LANGUAGES", {"pl": messages.LANGUAGES["pl"]})
    messages.update()
    entries = {text: ["%s %d"[:2] if "%s" in text.one else "x"] for text in messages.read(messages.po("pl"))}
    entries = {text: each * (3 if text.many else 1) for text, each in entries.items()}
    lost = messages.Text("Run now")
    del entries[lost]
    entries[messages.Text("Nobody says this")] = ["x"]
    messages.po("pl").write_text(messages.written("pl", entries))
    messages.compile_all()
    # Then each is told, and the plural's missing number
    told = list(messages.faults())
    assert "pl: 'Run now' is missing" in told
    assert "pl: 'Nobody says this' is marked nowhere" in told
    assert "pl: 'x' has other placeholders than '%d task changed'" in told
    # And what was compiled before the last change is stale
    messages.update()
    assert any("is not that of the .po file" in each for each in messages.faults())


@pytest.mark.parametrize("language", list(messages.LANGUAGES))
def test_the_compiled_catalogues_are_what_gettext_reads(language: str) -> None:
    with open(messages.po(language).with_suffix(".mo"), "rb") as file:
        read = gettext.GNUTranslations(file)
    for text, translations in messages.read(messages.po(language)).items():
        if text.many is None:
            assert read.gettext(text.one) == translations[0]
        else:
            assert {read.ngettext(text.one, text.many, number) for number in range(1, 30)} == set(translations)


SPEAK = """
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation
from django.utils.translation import ngettext
client = Client()
client.force_login(User.objects.create_superuser("root", "", "x"))
told = {}
for language in ("de", "pt-br", "pl", "ja", "zh-hans", "tr"):
    asked = {"HTTP_ACCEPT_LANGUAGE": language}
    with translation.override(language):
        told[language] = [ngettext("%d task changed", "%d tasks changed", n) % n for n in (1, 2, 5)]
    pages = [client.get(f"/admin/{path}", **asked).content.decode() for path in ("", "talo_django/queuepage/")]
    told[language] += [words in page for words, page in zip(GIVEN.get(language, ()), pages)]
print(json.dumps(told))
"""


def test_pages_are_rendered_in_the_language_of_the_request(tmp_path: Path) -> None:
    site = Site(tmp_path, settings=SETTINGS)
    site.migrate()
    given = {"de": ("Unzustellbare Nachrichten", "wartet seit (s)".capitalize()), "pt-br": ("Mensagens mortas", "Fila")}
    told = site.python(f"GIVEN = {given!r}\n{SPEAK}")
    assert told == {
        "de": ["1 Aufgabe geändert", "2 Aufgaben geändert", "5 Aufgaben geändert", True, True],
        "pt-br": ["1 tarefa alterada", "2 tarefas alteradas", "5 tarefas alteradas", True, True],
        "pl": ["Zmieniono 1 zadanie", "Zmieniono 2 zadania", "Zmieniono 5 zadań"],
        "ja": [f"タスクを{n}件変更しました" for n in (1, 2, 5)],
        "zh-hans": [f"已更改 {n} 个任务" for n in (1, 2, 5)],
        "tr": [f"{n} görev değiştirildi" for n in (1, 2, 5)],
    }
