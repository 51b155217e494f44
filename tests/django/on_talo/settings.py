"""The smallest project in which the framework's own tests run: their module ``tasks`` as an app, and Talo."""

from __future__ import annotations

from typing import Any

SECRET_KEY = "of these tests"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["tasks", "talo.django"]
TEST_RUNNER = "tests.django.on_talo.runner.Runner"
TALO_BROKER_URL = TALO_RESULT_BACKEND = "memory://framework"
LOGGING_CONFIG: Any = None
