"""Sentry: errors of tasks with what is known of the task, a transaction for each run, monitors of periodic tasks.

Owns nothing itself; ``integration`` and ``monitors`` are the only files that know sentry-sdk. Applications import
``TaloIntegration`` from here."""

from talo.sentry.integration import TaloIntegration

__all__ = ["TaloIntegration"]
