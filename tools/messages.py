"""The catalogues of ``talo.django``: texts that are marked for translation, and their translations.

    python tools/messages.py           what is missing or stale in src/talo/django/locale
    python tools/messages.py update    add new texts to the .po files (to be translated by hand), drop stale ones
    python tools/messages.py compile   make the .mo files of the .po files

It needs no gettext tools. ``tests/django/test_messages.py`` says when something is missing.
"""

from __future__ import annotations

import ast
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent / "src/talo/django"
LOCALE = ROOT / "locale"
#: Languages, and their rules of the plural: how many forms there are, and which one belongs to a number ``n``.
LANGUAGES = {
    "de": "nplurals=2; plural=(n != 1);",
    "es": "nplurals=2; plural=(n != 1);",
    "fr": "nplurals=2; plural=(n > 1);",
    "it": "nplurals=2; plural=(n != 1);",
    "ja": "nplurals=1; plural=0;",
    "nl": "nplurals=2; plural=(n != 1);",
    "pl": "nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);",
    "pt_BR": "nplurals=2; plural=(n > 1);",
    "tr": "nplurals=2; plural=(n > 1);",
    "zh_Hans": "nplurals=1; plural=0;",
}
#: Texts that Django's admin has translated itself: a second translation would stand in the way of the project's other
#: pages.
DJANGOS = frozenset({"Action:", "Delete", "Go", "Home", "No action selected.", "Search"})
_TRANSLATE = re.compile(r"""{%\s*translate\s+"([^"]+)"\s*%}""")
_ENTRY = re.compile(r'^(msgid|msgid_plural|msgstr(?:\[\d\])?)\s+"(.*)"$')


class Text(NamedTuple):
    """One marked text, with its plural if it has one."""

    one: str
    many: str | None = None


#: The translations of each text: one, or as many as the language has plural forms.
Catalogue = dict[Text, list[str]]


def marked() -> set[Text]:
    """Every text that is marked, in code and templates."""
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [each.value for each in node.args if isinstance(each, ast.Constant)]
                if node.func.id in ("_", "gettext"):
                    found.add(Text(names[0]))
                elif node.func.id == "ngettext":
                    found.add(Text(*names[:2]))
    for path in sorted(ROOT.rglob("*.html")):
        found |= {Text(each) for each in _TRANSLATE.findall(path.read_text())}
    return {text for text in found if text.one not in DJANGOS}


def po(language: str) -> Path:
    """Where a catalogue is written."""
    return LOCALE / language / "LC_MESSAGES/django.po"


def read(path: Path) -> Catalogue:
    """The entries of a .po file, without its head."""
    entries: Catalogue = {}
    fields: dict[str, str] = {}
    last = ""
    for line in [*path.read_text().splitlines(), ""]:
        if match := _ENTRY.match(line):
            last = match[1]
            fields[last] = ast.literal_eval(f'"{match[2]}"')
        elif line.startswith('"'):
            fields[last] += ast.literal_eval(line)
        elif not line and fields:
            translations = [value for name, value in fields.items() if name.startswith("msgstr")]
            if fields["msgid"]:
                entries[Text(fields["msgid"], fields.get("msgid_plural"))] = translations
            fields = {}
    return entries


def head(language: str) -> str:
    """What a catalogue says of itself."""
    return f"Language: {language}\nContent-Type: text/plain; charset=UTF-8\nPlural-Forms: {LANGUAGES[language]}\n"


def written(language: str, entries: Catalogue) -> str:
    """The text of a .po file."""
    lines = ['msgid ""', 'msgstr ""', *(f"{_quoted(line)}" for line in head(language).splitlines(keepends=True)), ""]
    for text, translations in sorted(entries.items()):
        lines.append(f"msgid {_quoted(text.one)}")
        if text.many is None:
            lines.append(f"msgstr {_quoted(translations[0])}")
        else:
            lines.append(f"msgid_plural {_quoted(text.many)}")
            lines += [f"msgstr[{number}] {_quoted(each)}" for number, each in enumerate(translations)]
        lines.append("")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def compiled(language: str, entries: Catalogue) -> bytes:
    """The .mo file: the texts, sorted, and the translations, each with a table of lengths and places. GNU gettext's
    manual describes it ("The Format of GNU MO Files")."""
    pairs = {b"": head(language).encode()}
    for text, translations in entries.items():
        key = text.one if text.many is None else f"{text.one}\0{text.many}"
        pairs[key.encode()] = "\0".join(translations).encode()
    keys = sorted(pairs)
    values = [pairs[key] for key in keys]
    place = 7 * 4 + 2 * 8 * len(keys)
    tables, data = b"", b""
    for part in (*keys, *values):
        tables += struct.pack("<II", len(part), place + len(data))
        data += part + b"\0"
    after = 7 * 4 + 8 * len(keys)
    return struct.pack("<7I", 0x950412DE, 0, len(keys), 28, after, 0, place) + tables + data


def faults() -> Iterator[str]:
    """What is missing or stale, language by language."""
    texts = marked()
    for language, plural in LANGUAGES.items():
        path = po(language)
        entries = read(path) if path.exists() else {}
        forms = int(plural[len("nplurals=")])
        for text in sorted(texts - entries.keys()):
            yield f"{language}: {text.one!r} is missing"
        for text in sorted(entries.keys() - texts):
            yield f"{language}: {text.one!r} is marked nowhere"
        for text, translations in entries.items():
            if len(translations) != (1 if text.many is None else forms) or not all(translations):
                yield f"{language}: {text.one!r} is not translated"
            for each in translations:
                if re.findall(r"%\w", each) != re.findall(r"%\w", text.one):
                    yield f"{language}: {each!r} has other placeholders than {text.one!r}"
        made = path.with_suffix(".mo")
        if not made.exists() or made.read_bytes() != compiled(language, entries):
            yield f"{language}: the .mo file is not that of the .po file: python tools/messages.py compile"


def update() -> None:
    """Bring the .po files to what is marked; what is new is empty."""
    texts = marked()
    for language, plural in LANGUAGES.items():
        path = po(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        known = read(path) if path.exists() else {}
        forms = int(plural[len("nplurals=")])
        new = {text: known.get(text) or [""] * (1 if text.many is None else forms) for text in texts}
        path.write_text(written(language, new))


def compile_all() -> None:
    """Make every .mo file."""
    for language in LANGUAGES:
        path = po(language)
        path.with_suffix(".mo").write_bytes(compiled(language, read(path)))


if __name__ == "__main__":
    if sys.argv[1:] == ["update"]:
        update()
    elif sys.argv[1:] == ["compile"]:
        compile_all()
    else:
        found = list(faults())
        print("\n".join(found) or "complete")
        sys.exit(bool(found))
