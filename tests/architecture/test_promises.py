"""The page of proven promises is in step with the tests that prove them."""

from __future__ import annotations

from tools import promises


def test_the_page_lists_exactly_what_tests_prove() -> None:
    rendered = promises.render()
    assert promises.PAGE.exists(), "docs/reference/promises.md is missing: make promises"
    assert promises.PAGE.read_text(encoding="utf-8") == rendered, "docs/reference/promises.md is stale: make promises"


def test_ids_agree_with_their_sections() -> None:
    misplaced = [
        promise for letter, (_, entries) in promises.table().items() for promise in entries if promise[0] != letter
    ]
    assert misplaced == []
