"""What travels and what is stored: Celery's messages and results, as bytes and as structs.

Owns every form that another process or another implementation reads. Knows no server: stores carry these bytes.
"""

from __future__ import annotations

from talo.wire._ids import new_id, origin
from talo.wire._times import Moment, epoch_of, iso, parse_iso
from talo.wire.compression import compress, decompress
from talo.wire.envelope import pack, unpack
from talo.wire.exceptions import ExceptionData, RemoteError, exception_from_data, exception_to_data
from talo.wire.message import Message
from talo.wire.protocol import Call, Embed, Fault, HeaderFields, TimeLimit, decode, encode_body, make_message
from talo.wire.repr import saferepr
from talo.wire.results import (
    ResultDoc,
    ResultNode,
    decode_result,
    encode_result,
    group_tuple,
    read_tuple,
    task_tuple,
)
from talo.wire.serializers import JSON, Codec, register_type

__all__ = [
    "JSON",
    "Call",
    "Codec",
    "Embed",
    "ExceptionData",
    "Fault",
    "HeaderFields",
    "Message",
    "Moment",
    "RemoteError",
    "ResultDoc",
    "ResultNode",
    "TimeLimit",
    "compress",
    "decode",
    "decode_result",
    "decompress",
    "encode_body",
    "encode_result",
    "epoch_of",
    "exception_from_data",
    "exception_to_data",
    "group_tuple",
    "iso",
    "make_message",
    "new_id",
    "origin",
    "pack",
    "parse_iso",
    "read_tuple",
    "register_type",
    "saferepr",
    "task_tuple",
    "unpack",
]
