"""The suites that plug-ins bring along pass on Talo, but for what is published with its reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.ecosystem import suites
from tests.ecosystem.venv import Environment


def test_the_page_shows_what_the_table_says() -> None:
    assert suites.PAGE.read_text() == suites.page(), "python -m tests.ecosystem.suites"


@pytest.mark.soak
@pytest.mark.promise("K11")
@pytest.mark.parametrize("suite", suites.suites(), ids=lambda suite: suite.package)
def test_the_own_tests_of_a_package_fail_where_it_is_published(
    suite: suites.Suite, where: Environment, tmp_path: Path
) -> None:
    # Given the package and its tests, as published
    try:
        source = suites.fetch(suite, tmp_path)
        suites.install(suite, where)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the package index does not answer: {error.stderr.decode().strip().splitlines()[-1:]}")

    # When they run on Talo
    outcome = suites.run(suite, where, source)

    # Then all ran, and what fails is what is known to fail
    assert outcome.failed == sorted(suite.known)
    assert outcome.ran == suite.ran
