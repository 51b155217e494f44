"""How a row of the tables is written.

Owns the short form: the names that come from one module, each ``name`` or ``name=other`` where they differ there.
"""

from __future__ import annotations

__all__ = ["names"]


def names(module: str, words: str) -> dict[str, str]:
    """Return public name -> ``module:attribute`` for words between spaces."""
    found = {}
    for word in words.split():
        public, _, theirs = word.partition("=")
        found[public] = f"{module}:{theirs or public}"
    return found
