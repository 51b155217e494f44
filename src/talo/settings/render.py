"""Text made from the table: the reference page and the typed fields of ``Settings``.

Owns both renderings; ``python -m talo.settings.render`` in the project's root writes them, and a test says when they
are stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from talo.settings._option import Option, Same, Status
from talo.settings.options import GROUPS, OPTIONS
from talo.util.text import duration

__all__ = ["FIELDS_PATH", "REFERENCE_PATH", "fields", "main", "reference"]

REFERENCE_PATH = "docs/reference/settings.md"
FIELDS_PATH = "src/talo/settings/_fields.py"

_INTRODUCTION = """\
# Settings

<!-- Rendered by `python -m talo.settings.render` from the table in src/talo/settings; change that. -->

Every setting may be written in lower case, behind a namespace (`CELERY_TASK_SERIALIZER` with `namespace="CELERY"`),
under its name from before Celery 4.0, as an environment variable (`TALO_TASK_SERIALIZER`), or on the command line
(`task_serializer=json`). The command line wins over the environment, the environment over code, code over the
configuration object, that over the app's defaults, and those over the defaults below. `talo.Talo()` has Talo's; an app
made through `celery` has Celery's wherever they change what happens.

An **effective** setting does what it says. A **coming** one is accepted and kept, and a worker says at start that it
has no effect yet. A **refused** one is an error as soon as it is set to anything but its default. Unknown names are
errors that name the nearest one.

Durations are seconds; a `timedelta` or text such as `90s`, `5m`, `1h`, `2d` is taken as well.
"""


def reference() -> str:
    """Return the reference page."""
    parts = [_INTRODUCTION, *(f"- [{group.title}](#{_anchor(group.title)})\n" for group in GROUPS)]
    parts.insert(1, "\n")
    for group in GROUPS:
        parts.append(f"\n## {group.title}\n")
        parts.extend(_entry(option) for option in group.options)
    return "".join(parts)


def _anchor(title: str) -> str:
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def _entry(option: Option) -> str:
    facts = [f"Default {_value(option, option.default)}"]
    if option.own:
        facts.append("Talo's own")
    if option.own and option.differs:
        facts.append(f"through `celery` {_value(option, option.celery_default)}")
    elif option.differs:
        facts.append(
            f"Celery: {_value(option, option.celery_default)}" + ("" if option.follows else " (not taken over)")
        )
    facts.append(option.type.label)
    if option.old:
        facts.append(f"old {'name' if len(option.old) == 1 else 'names'} {', '.join(f'`{old}`' for old in option.old)}")
    lines = [f"\n### {option.name}\n", f"{option.help}\n", f"{' · '.join(facts)}\n"]
    if option.status is not Status.EFFECTIVE:
        lines.append(f"**{option.status.value.capitalize()}**: {option.reason}.\n")
    elif option.reason:
        lines.append(f"Effective: {option.reason}.\n")
    return "\n".join(lines)


def _value(option: Option, value: Any) -> str:
    if isinstance(value, Same):
        return f"the value of `{value.name}`"
    shown = f"`{value!r}`"
    if isinstance(value, float) and value >= 60 and "seconds" in option.type.label:
        return f"{shown} ({duration(value)})"
    return shown


def fields() -> str:
    """Return the source of ``_fields.py``: the type of every setting, for type checkers and editors."""
    lines = [
        '"""The types of all settings, for type checkers and editors.',
        "",
        "Rendered from the table by ``python -m talo.settings.render``; change the table, not this file.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Sequence",
        "from typing import Any",
        "",
        '__all__ = ["Fields"]',
        "",
        "",
        "class Fields:",
        '    """One annotation for each setting of the table."""',
        "",
        *(f"    {option.name}: {option.type.annotation}" for group in GROUPS for option in group.options),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files under the working directory."""
    for path, text in ((REFERENCE_PATH, reference()), (FIELDS_PATH, fields())):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(OPTIONS)} settings: {REFERENCE_PATH}, {FIELDS_PATH}\n")


if __name__ == "__main__":
    main()
