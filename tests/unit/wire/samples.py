"""Reading the recorded samples of ``tests/data/wire``, and the form in which they state what decoding must give."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from talo.wire import Message, serializers, unpack

FOLDER = Path(__file__).parents[2] / "data" / "wire"

JSON_ONLY = serializers.accept(["json"])
EVERYTHING = serializers.accept(["json", "msgpack", "yaml", "pickle"])


def names(pattern: str) -> list[str]:
    """The names of the samples that match."""
    return sorted(path.stem for path in FOLDER.glob(f"{pattern}.json"))


def load(name: str) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return sample


def messages(sample: dict[str, Any]) -> list[Message]:
    """The task messages of a sample, in order."""
    if sample["transport"] == "amqp":
        return [_from_amqp(message) for message in sample["messages"]]
    return [unpack(item, queue) for queue, item in items(sample)]


def items(sample: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Every envelope of a Redis sample with the queue in which it is."""
    if sample["transport"] == "redis":
        for message in sample["messages"]:
            yield message["key"].split("\x06\x16")[0], message["item"].encode()
    elif sample["transport"] == "redis-unacked":
        envelope, _, queue = json.loads(sample["messages"][0]["value"])
        yield queue, json.dumps(envelope).encode()
    else:
        for key, value in sample["keys"].items():
            if value["type"] == "list":
                yield from ((key, item.encode()) for item in value["content"])
            elif value["type"] == "hash":
                for text in value["content"].values():
                    envelope, _, queue = json.loads(text)
                    yield queue, json.dumps(envelope).encode()


def _from_amqp(message: dict[str, Any]) -> Message:
    properties = dict(message["properties"])
    return Message(
        queue=message["queue"],
        headers=message["headers"],
        body=payload(message, "body"),
        content_type=properties.pop("content_type"),
        content_encoding=properties.pop("content_encoding"),
        priority=properties.pop("priority", 0),
        properties=properties,
        exchange=message["exchange"],
        routing_key=message["routing_key"],
    )


def payload(message: dict[str, Any], field: str) -> bytes:
    text: str = message[field]
    return base64.b64decode(text) if message.get(f"{field}_is") == "base64" else text.encode()


def as_expected(value: Any) -> Any:
    """Turn a decoded value into the form in which the samples state it."""
    match value:
        case dict():
            return {key: as_expected(item) for key, item in value.items()}
        case list() | tuple():
            return [as_expected(item) for item in value]
        case set():
            return {"set": sorted(value)}
        case bytes():
            try:
                return {"__type__": "bytes", "__value__": value.decode()}
            except UnicodeDecodeError:
                return {"__type__": "base64", "__value__": base64.b64encode(value).decode()}
        case dt.datetime() | dt.date() | dt.time():
            return {"__type__": type(value).__name__, "__value__": value.isoformat()}
        case decimal.Decimal():
            return {"__type__": "decimal", "__value__": str(value)}
        case uuid.UUID():
            return {"__type__": "uuid", "__value__": {"hex": value.hex}}
    return value
