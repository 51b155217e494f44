"""Celery's task message: reading protocols 2, 1 and the hybrid of both, writing 2 and 1.

The face of two nouns: ``_read`` (``Message`` to ``Call``) and ``_write`` (the way back). The envelope around a message
is a store's matter (``envelope`` for Redis). Called by ``app.send`` to write, by the worker's children to read.
"""

from __future__ import annotations

from talo.wire._faults import Fault
from talo.wire._read import Call, TimeLimit, decode
from talo.wire._write import Embed, HeaderFields, encode_body, make_message

__all__ = ["Call", "Embed", "Fault", "HeaderFields", "TimeLimit", "decode", "encode_body", "make_message"]
