"""A real browser for tests: Debian's chromium, driven by playwright.

``chromium`` is one browser for the session; each test opens contexts of its own in it. Without the binary a test is
skipped, in CI it fails. To use it::

    from tests.servers.chromium import chromium  # noqa: F401
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

__all__ = ["chromium", "launched"]


def _binary() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    message = "no chromium is installed: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser. Its sandbox needs rights that containers do not have; it loads only our own pages."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_binary(), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser of a module."""
    with launched() as browser:
        yield browser
