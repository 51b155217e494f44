"""What an app offers beside tasks and settings, a mixin for each: bulk sends, workflows, stores, transactions, remote
control, secret arguments and signed messages.

Owns only that they belong together. Mixed into ``Talo``.
"""

from __future__ import annotations

from talo.app.bulk import BulkDoors
from talo.app.remote import RemoteDoors
from talo.app.secrets import SecretDoors
from talo.app.security import SecurityDoors
from talo.app.stores import StoreDoors
from talo.app.transactions import TransactionDoors
from talo.app.workflows import WorkflowDoors

__all__ = ["Doors"]


class Doors(BulkDoors, WorkflowDoors, StoreDoors, TransactionDoors, RemoteDoors, SecretDoors, SecurityDoors):
    """All of them."""
