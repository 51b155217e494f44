"""The suites that plug-ins bring along pass on Talo, but for what is published with its reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.ecosystem import suites
from tests.ecosystem.venv import Environment


def test_the_page_shows_what_the_table_says() -> None:
    assert suites.PAGE.read_text() == suites.page(), "python -m tests.ecosystem.suites"


def measured(suite: suites.Suite, where: Environment, folder: Path) -> suites.Outcome:
    """What the package's tests, as published, come to there."""
    try:
        source = suites.fetch(suite, folder)
        suites.install(suite, where)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the package index does not answer: {error.stderr.decode().strip().splitlines()[-1:]}")
    return suites.run(suite, where, source)


@pytest.mark.soak
@pytest.mark.promise("K11")
@pytest.mark.parametrize("suite", suites.suites(), ids=lambda suite: suite.package)
def test_the_own_tests_of_a_package_fail_where_it_is_published(
    suite: suites.Suite, where: Environment, tmp_path: Path
) -> None:
    # When they run on Talo
    outcome = measured(suite, where, tmp_path)
    # Then all ran, and what fails is what is known to fail
    assert outcome.failed == sorted(suite.known)
    assert outcome.ran == suite.ran


@pytest.mark.soak
@pytest.mark.parametrize("suite", suites.suites(), ids=lambda suite: suite.package)
def test_what_is_said_to_fail_on_celery_too_does(suite: suites.Suite, beside: Environment, tmp_path: Path) -> None:
    assert measured(suite, beside, tmp_path).failed == sorted(suite.celery)
