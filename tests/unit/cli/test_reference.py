"""The reference page is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from talo.cli.reference import REFERENCE_PATH, reference

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_is_not_stale() -> None:
    written = (ROOT / REFERENCE_PATH).read_text(encoding="utf-8")
    assert written == reference(), "it is stale: python -m talo.cli.reference"
