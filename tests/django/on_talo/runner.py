"""Django's test runner, with Talo under the names of the framework's own backends; it writes down what failed.

``python -m django test tasks --settings tests.django.on_talo.settings``, with the file for the report in
``TALO_REPORT``.
"""

from __future__ import annotations

import importlib
import json
import os
import unittest
from pathlib import Path
from typing import Any

from django.test.runner import DiscoverRunner

__all__ = ["Runner"]


class Runner(DiscoverRunner):
    """Runs tests that know nothing of Talo."""

    def build_suite(self, *args: Any, **kwargs: Any) -> unittest.TestSuite:
        from tests.django.on_talo.backends import Keeping, Running  # not before Django is set up

        # The tests find them by name, in their imports and in TASKS.
        dummy: Any = importlib.import_module("django.tasks.backends.dummy")
        immediate: Any = importlib.import_module("django.tasks.backends.immediate")
        dummy.DummyBackend, immediate.ImmediateBackend = Keeping, Running
        return super().build_suite(*args, **kwargs)

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        told = [test for test, _ in result.failures + result.errors]
        failed = {getattr(test, "test_case", test).id() for test in told}  # of a subtest, its test
        report = {"ran": result.testsRun - len(result.skipped), "failed": sorted(failed)}
        Path(os.environ["TALO_REPORT"]).write_text(json.dumps(report))
        return super().suite_result(suite, result, **kwargs)
