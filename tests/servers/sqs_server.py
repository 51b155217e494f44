"""A stand-in for Amazon SQS that bears load: one process, one thread, everything in memory.

Owns what clients ask of SQS in its JSON protocol, by the API reference. No action takes longer the more messages
there are, and no two are at work at once. Where Amazon leaves open what happens, it does what is less convenient: an
old receipt deletes nothing, and what was received for a client that is gone stays invisible until its time is over.

    python -m tests.servers.sqs_server PORT REFUSES FILE

A server that is asked to end (TERM) writes into FILE what it keeps, and one that starts goes on with that. Of the
requests about messages the part REFUSES (0 to 1) is refused, in turn: throttled, answered 503, and in batches one entry
fails for no fault of the sender's. An access key that begins with AKIA is known to nobody, and one like
``no-CreateQueue`` may do everything but that; credentials are those of one region, ``us-east-1``. Signatures are not
checked. A GET is answered with the number of requests so far, by action, and that of polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import json
import pickle
import random
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: API reference and quotas: entries and bytes of a batch, seconds of a delay and of a visibility, messages in flight.
BATCH, LARGEST, LONGEST_DELAY, LONGEST_VISIBILITY, IN_FLIGHT = 10, 1_048_576, 900, 43_200, 120_000
#: Seconds in which a FIFO queue takes no message twice.
DEDUPLICATION = 300.0

Answer = dict[str, Any]


class Refused(Exception):
    """An error as SQS words it: its code, and the older code that clients are told beside it."""

    def __init__(self, code: str, text: str = "", *, older: str = "", status: int = 400) -> None:
        super().__init__(text or code)
        self.code, self.older, self.status = code, older or f"AWS.SimpleQueueService.{code}", status


@dataclass(slots=True)
class Message:
    """A message in a queue. ``until``: when it becomes ready (monotonic), 0 while it is; ``receipt``: of its last
    reception, empty while nobody has it."""

    number: int
    body: str
    attributes: dict[str, Any]
    group: str
    until: float = 0.0
    received: int = 0
    receipt: str = ""


class Queue:
    """One queue: heaps of what is ready, by number, and of what is delayed or in flight, by time."""

    def __init__(self, name: str, attributes: Answer) -> None:
        self.name = name
        self.attributes = {"VisibilityTimeout": "30", "MaximumMessageSize": str(LARGEST), **attributes}
        self.fifo = name.endswith(".fifo")
        self.woken = asyncio.Event()
        self._number = 0
        self._deduplicated: dict[str, float] = {}
        self.clear()

    def __getstate__(self) -> Answer:
        return {name: value for name, value in vars(self).items() if name != "woken"}

    def __setstate__(self, state: Answer) -> None:
        vars(self).update(state, woken=asyncio.Event())

    def clear(self) -> Answer:
        """Forget every message."""
        self._messages: dict[int, Message] = {}
        self._ready: list[int] = []
        self._waiting: list[tuple[float, int]] = []
        #: Messages in flight, by group; in a queue that is not FIFO all are of one.
        self._flying: Counter[str] = Counter()
        return {}

    def send(self, entry: Answer) -> Answer:
        """Take one message; what SQS says of it."""
        body, delay = entry["MessageBody"], int(entry.get("DelaySeconds", 0))
        group, once = entry.get("MessageGroupId", ""), entry.get("MessageDeduplicationId", "")
        if size(entry) > int(self.attributes["MaximumMessageSize"]):
            raise Refused("InvalidParameterValue", "Message is too long")
        if not 0 <= delay <= LONGEST_DELAY or (self.fifo and delay):
            raise Refused("InvalidParameterValue", f"Value {delay} for parameter DelaySeconds is invalid")
        if self.fifo and not (group and once):
            raise Refused("MissingParameter", "MessageGroupId and MessageDeduplicationId are needed")
        now = time.monotonic()
        if not self.fifo or self._deduplicated.get(once, 0.0) <= now:
            if self.fifo:
                self._deduplicated[once] = now + DEDUPLICATION
            self._number += 1
            message = Message(self._number, body, entry.get("MessageAttributes", {}), group if self.fifo else "")
            self._messages[message.number] = message
            self._wait(message, now + delay if delay else 0.0)
        return {"MessageId": str(uuid.uuid4()), "MD5OfMessageBody": hashlib.md5(body.encode()).hexdigest()}

    def _wait(self, message: Message, until: float) -> None:
        message.until = until
        if until:
            heapq.heappush(self._waiting, (until, message.number))
        else:
            if message.receipt:
                self._flying[message.group] -= 1
                message.receipt = ""
            heapq.heappush(self._ready, message.number)
        self.woken.set()

    def _promote(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            until, number = heapq.heappop(self._waiting)
            message = self._messages.get(number)
            if message is not None and message.until == until:
                self._wait(message, 0.0)

    def next_ready(self) -> float:
        """When something becomes ready by itself (monotonic)."""
        return self._waiting[0][0] if self._waiting else float("inf")

    def receive(self, limit: int, visibility: int) -> list[Message]:
        """Up to so many messages, from now on in flight; of a FIFO queue none of a group of which one is already."""
        self._promote()
        if self._flying.total() >= IN_FLIGHT:
            raise Refused("OverLimit")
        found: list[Message] = []
        blocked = {group for group, count in self._flying.items() if count} if self.fifo else set()
        behind: list[int] = []
        while self._ready and len(found) < limit:
            message = self._messages.get(number := heapq.heappop(self._ready))
            if message is None or message.until:
                continue  # it has been deleted
            if message.group in blocked:
                behind.append(number)
                continue
            found.append(message)
            message.received += 1
            message.receipt = f"{number}-{uuid.uuid4()}"
            self._flying[message.group] += 1
            self._wait(message, time.monotonic() + visibility)
        for number in behind:
            heapq.heappush(self._ready, number)
        return found

    def delete(self, entry: Answer) -> Answer:
        """End the message of a reception, if it is its last."""
        message = self._of(entry["ReceiptHandle"])
        if message is not None and message.receipt == entry["ReceiptHandle"]:
            self._flying[message.group] -= 1
            del self._messages[message.number]
            self.woken.set()  # the next of its group may go
        return {}

    def extend(self, entry: Answer) -> Answer:
        """The visibility of a reception ends so many seconds from now."""
        receipt, visibility = entry["ReceiptHandle"], entry["VisibilityTimeout"]
        if not 0 <= visibility <= LONGEST_VISIBILITY:
            raise Refused("InvalidParameterValue", f"Value {visibility} for parameter VisibilityTimeout is invalid")
        self._promote()
        message = self._of(receipt)
        if message is None or message.receipt != receipt:
            raise Refused("MessageNotInflight")
        self._wait(message, time.monotonic() + visibility if visibility else 0.0)
        return {}

    def _of(self, receipt: str) -> Message | None:
        number = receipt.partition("-")[0]
        if not number.isdigit():
            raise Refused("ReceiptHandleIsInvalid", older="ReceiptHandleIsInvalid")
        return self._messages.get(int(number))

    def described(self, names: list[str]) -> Answer:
        """Those of its attributes, as text."""
        self._promote()
        flying = self._flying.total()
        delayed = sum(1 for each in self._messages.values() if each.until and not each.receipt)
        numbers = {
            "ApproximateNumberOfMessages": len(self._messages) - flying - delayed,
            "ApproximateNumberOfMessagesDelayed": delayed,
            "ApproximateNumberOfMessagesNotVisible": flying,
        }
        known = {**self.attributes, "QueueArn": f"arn:aws:sqs:us-east-1:123456789012:{self.name}", **numbers}
        return {name: str(value) for name, value in known.items() if "All" in names or name in names}


def size(entry: Answer) -> int:
    """What a message counts, attributes included."""
    attributes = entry.get("MessageAttributes", {})
    more = sum(len(name) + len(each["DataType"]) + len(each["StringValue"]) for name, each in attributes.items())
    return len(entry["MessageBody"].encode()) + more


class Sqs:
    """All queues, and the actions on them."""

    def __init__(self, port: int, refuses: float, file: Path) -> None:
        self._place = f"http://127.0.0.1:{port}/123456789012/"
        self._file = file
        self._queues: dict[str, Queue] = pickle.loads(file.read_bytes()) if file.exists() else {}
        self._random, self._refuses = random.Random(1), refuses
        #: By action; ``polls`` are those under way, ``most polls`` the most that there were at a time.
        self.requests: Counter[str] = Counter()
        self._on_queues: dict[str, Callable[[Answer], Answer]] = {
            "CreateQueue": self._create,
            "ListQueues": self._list,
            "GetQueueUrl": lambda given: {"QueueUrl": self._place + self._named(given["QueueName"]).name},
            "DeleteQueue": lambda given: self._drop(self._queue(given)),
            "PurgeQueue": lambda given: self._queue(given).clear(),
            "GetQueueAttributes": lambda given: {
                "Attributes": self._queue(given).described(given.get("AttributeNames", []))
            },
        }
        self._on_messages: dict[str, Callable[[Queue, Answer], Answer]] = {
            "SendMessage": Queue.send,
            "DeleteMessage": Queue.delete,
            "ChangeMessageVisibility": Queue.extend,
        }

    def keep(self) -> None:
        """Write down what there is. Times are monotonic, so it is good for this boot."""
        self._file.write_bytes(pickle.dumps(self._queues))

    async def act(self, action: str, given: Answer, credential: str) -> Answer:
        """Do it, for who signs with this (key, day, region ...); ``Refused`` if SQS would not."""
        self.requests[action] += 1
        key, _, region, *_ = credential.split("/")
        if region != "us-east-1":
            raise Refused(
                "InvalidSignatureException",
                "Credential should be scoped to a valid region.",
                older="SignatureDoesNotMatch",
                status=403,
            )
        if key.startswith("AKIA"):
            raise Refused(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                older="InvalidClientTokenId",
                status=403,
            )
        if key.lower() == f"no-{action.removesuffix('Batch')}".lower():
            text = f"User: arn:aws:iam::123456789012:user/{key} is not authorized to perform: sqs:{action.lower()}"
            raise Refused("AccessDeniedException", text, older="AccessDenied", status=403)
        if action in self._on_queues:
            return self._on_queues[action](given)
        ill = self._random.random() < self._refuses and self._random.choice(["throttled", "away", "entry"])
        if ill == "throttled":
            raise Refused("RequestThrottled", older="RequestThrottled")
        if ill == "away":
            raise Refused("ServiceUnavailable", older="ServiceUnavailable", status=503)
        queue = self._queue(given)
        if action == "ReceiveMessage":
            return await self._receive(queue, given)
        verb = self._on_messages[action.removesuffix("Batch")]
        return self._batch(queue, verb, given["Entries"], bool(ill)) if action.endswith("Batch") else verb(queue, given)

    def _named(self, name: str) -> Queue:
        if name not in self._queues:
            raise Refused("QueueDoesNotExist", older="AWS.SimpleQueueService.NonExistentQueue")
        return self._queues[name]

    def _queue(self, given: Answer) -> Queue:
        return self._named(given["QueueUrl"].rsplit("/", 1)[1])

    def _create(self, given: Answer) -> Answer:
        name = given["QueueName"]
        self._queues.setdefault(name, Queue(name, given.get("Attributes", {})))
        return {"QueueUrl": self._place + name}

    def _drop(self, queue: Queue) -> Answer:
        del self._queues[queue.name]
        queue.woken.set()
        return {}

    def _list(self, given: Answer) -> Answer:
        prefix = given.get("QueueNamePrefix", "")
        return {"QueueUrls": [self._place + name for name in self._queues if name.startswith(prefix)]}

    async def _receive(self, queue: Queue, given: Answer) -> Answer:
        limit = given.get("MaxNumberOfMessages", 1)
        if not 1 <= limit <= BATCH:
            raise Refused("InvalidParameterValue", f"Value {limit} for parameter MaxNumberOfMessages is invalid")
        visibility = int(given.get("VisibilityTimeout", queue.attributes["VisibilityTimeout"]))
        deadline = time.monotonic() + given.get("WaitTimeSeconds", 0)
        while not (found := queue.receive(limit, visibility)) and (left := deadline - time.monotonic()) > 0:
            queue.woken.clear()
            with contextlib.suppress(TimeoutError), self._polling():
                await asyncio.wait_for(queue.woken.wait(), min(left, max(0.001, queue.next_ready() - time.monotonic())))
            self._named(queue.name)
        return {"Messages": [self._shown(each) for each in found]} if found else {}

    @contextlib.contextmanager
    def _polling(self) -> Iterator[None]:
        self.requests["polls"] += 1
        self.requests["most polls"] = max(self.requests["most polls"], self.requests["polls"])
        try:
            yield
        finally:
            self.requests["polls"] -= 1

    def _shown(self, message: Message) -> Answer:
        return {
            "MessageId": str(message.number),
            "ReceiptHandle": message.receipt,
            "Body": message.body,
            "MD5OfBody": hashlib.md5(message.body.encode()).hexdigest(),
            "Attributes": {"ApproximateReceiveCount": str(message.received)},
            "MessageAttributes": message.attributes,
        }

    def _batch(self, queue: Queue, verb: Callable[[Queue, Answer], Answer], entries: list[Answer], ill: bool) -> Answer:
        if not entries:
            raise Refused("EmptyBatchRequest")
        if len(entries) > BATCH:
            raise Refused("TooManyEntriesInBatchRequest")
        if len({each["Id"] for each in entries}) < len(entries):
            raise Refused("BatchEntryIdsNotDistinct")
        if sum(size(each) for each in entries if "MessageBody" in each) > LARGEST:
            raise Refused("BatchRequestTooLong")
        done: list[Answer] = []
        failed: list[Answer] = []
        broken = self._random.choice(entries)["Id"] if ill else None
        for entry in entries:
            if entry["Id"] == broken:
                failed.append({"Id": broken, "SenderFault": False, "Code": "InternalError", "Message": "try again"})
                continue
            try:
                done.append({"Id": entry["Id"], **verb(queue, entry)})
            except Refused as why:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": why.code, "Message": str(why)})
        return {"Successful": done, "Failed": failed}


class Http:
    """Requests and answers over connections that stay open."""

    def __init__(self, sqs: Sqs) -> None:
        self._sqs = sqs

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request after the other."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                writer.writelines(await self._answer(first, headers, body))
                await writer.drain()
        writer.close()

    async def _answer(self, first: str, headers: dict[str, str], body: bytes) -> Iterator[bytes]:
        status, more, answer = 200, "", dict[str, Any](self._sqs.requests)
        if first.startswith("POST"):
            try:
                action = headers["x-amz-target"].partition(".")[2]
                # AWS4-HMAC-SHA256 Credential=KEY/DAY/REGION/sqs/aws4_request, SignedHeaders=...
                credential = headers["authorization"].partition("Credential=")[2].partition(",")[0]
                answer = await self._sqs.act(action, json.loads(body), credential)
            except Refused as why:
                status, more = why.status, f"x-amzn-query-error: {why.older};Sender\r\n"
                answer = {"__type": f"com.amazonaws.sqs#{why.code}", "message": str(why)}
        text = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} .\r\nContent-Type: application/x-amz-json-1.0\r\n{more}Content-Length: {len(text)}"
        return iter((head.encode(), b"\r\n\r\n", text))


async def main(port: int, refuses: float, file: Path) -> None:
    """Serve until the process is asked to end."""
    sqs, ended = Sqs(port, refuses, file), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await asyncio.start_server(Http(sqs).serve, "127.0.0.1", port, limit=1 << 24, backlog=512)
    await ended.wait()
    sqs.keep()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
