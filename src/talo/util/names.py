"""Names: the object behind a dotted path, and the name that somebody probably meant.

Owns both lookups and nothing about what the names stand for. Called by ``settings`` (misspelt settings, paths to
modules), by ``app`` (task and queue names) and by the command line.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

__all__ = ["distance", "import_path", "nearest"]


def import_path(path: str) -> Any:
    """Return what ``pkg.module``, ``pkg.module:attribute`` or ``pkg.module.attribute`` names.

    Raises ImportError when there is no such module, AttributeError when the module has no such attribute.
    """
    module_name, colon, attribute = path.partition(":")
    if colon:
        return _walk(importlib.import_module(module_name), attribute)
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        parent, dot, last = path.rpartition(".")
        # Only "this very path is no module" may turn into an attribute lookup; a failing import inside it must be seen.
        if not dot or error.name not in (path, parent):
            raise
        try:
            module = importlib.import_module(parent)
        except ModuleNotFoundError:
            raise error from None
        if not hasattr(module, last):
            raise
        return getattr(module, last)


def _walk(target: Any, attributes: str) -> Any:
    for attribute in attributes.split("."):
        target = getattr(target, attribute)
    return target


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that ``word`` most probably is a misspelling of, None when nothing is near.

    Near is: few typing slips, the same words in another order, or a name whose first or last words are missing.
    """
    limit = max(2, len(word) // 4) + 1
    letters = Counter(word)
    words = sorted(word.split("_"))
    # The letters alone give a lower bound of the distance, so the costly comparison is made for a handful only.
    bounded = sorted((_bag_distance(letters, candidate), candidate) for candidate in candidates)
    best: tuple[float, str] | None = None
    for bound, candidate in bounded:
        if bound >= limit and best is not None:
            break
        score = float(distance(word, candidate, limit)) if bound < limit else float(limit)
        if score > 1 and sorted(candidate.split("_")) == words:
            score = 1.0
        if score >= limit:
            continue
        if best is None or (score, candidate) < best:
            best = (score, candidate)
            limit = max(1, int(score) + 1)
    if best is not None:
        return best[1]
    return _with_words_missing(word, [candidate for _, candidate in bounded])


def _with_words_missing(word: str, candidates: list[str]) -> str | None:
    if len(word) < 4:
        return None
    longer = [name for name in candidates if name.endswith(f"_{word}") or name.startswith(f"{word}_")]
    shorter = [
        name for name in candidates if len(name) > 4 and (word.endswith(f"_{name}") or word.startswith(f"{name}_"))
    ]
    return min(longer, key=len, default=None) or max(shorter, key=len, default=None)


def _bag_distance(letters: Counter[str], candidate: str) -> int:
    other = Counter(candidate)
    shared = (letters & other).total()
    return max(letters.total(), len(candidate)) - shared


def distance(one: str, two: str, limit: int = 1 << 30) -> int:
    """Return how many slips (a letter too many, missing, wrong, or two swapped) part the words, at most ``limit``."""
    if abs(len(one) - len(two)) >= limit:
        return limit
    before: list[int] = []
    above = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(two, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == two[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) >= limit:
            return limit
        before, above = above, row
    return min(above[-1], limit)
