"""What an app offers of secret arguments: marking its tasks, and sealing a value by hand.

The rules are ``execution.secrets``'s. Mixed into ``Talo``.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from talo.execution.opening import opening
from talo.execution.secrets import Secrets, marks_of

if TYPE_CHECKING:
    from talo.settings import Settings

__all__ = ["SecretDoors"]


class SecretDoors:
    """Mixed into ``Talo``."""

    if TYPE_CHECKING:

        @property
        def conf(self) -> Settings: ...

    @functools.cached_property
    def secrets(self) -> Secrets:
        """The secret arguments of this app's tasks."""
        return Secrets(lambda: (self.conf.secret_keys, self.conf.version))

    def mark(self, task: Any) -> None:
        """Find out which parameters of a task are secret, and let its function take them sealed. Annotations may name
        what is not there yet when the task is made, so this is asked again when the app is finalised."""
        marks = None if task.name in self.secrets.marks else marks_of(task.run, task.name, task.secret)
        if marks is not None:
            self.secrets.marks[task.name] = marks
            task.run = opening(task.run, task.name, self.secrets)

    def seal(self, value: Any) -> str:
        """Seal a value that is passed by name, or returned, to a task's secret parameter: for senders that do not
        have the task itself. ``ImproperlyConfigured`` without ``secret_keys``."""
        return self.secrets.seal(value)
