"""Amazon SQS as a broker, with another store at its side for what SQS cannot hold.

Owns the technology ``sqs``; ``stores/base.py`` says what it promises, ``docs/internals/sqs.md`` how. Called by
``stores.url``.
"""

from __future__ import annotations

from talo.stores.sqs.store import SqsStore

__all__ = ["SqsStore"]
