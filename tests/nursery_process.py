"""The process that ``tests.nursery`` forks commands from: ``python -m tests.nursery_process DESCRIPTOR``.

It has imported the command and the clients of the stores, and nothing of an app; it has no thread and no connection.
A request on its socket is JSON: of a start, with the descriptors of standard input, output and error, or a question
after an end. It ends when the socket is closed at the other side, and leaves what it started alone.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import socket
import sys
import time
from typing import Any

import boto3  # noqa: F401
import psycopg  # noqa: F401
import pymysql  # noqa: F401

import talo.cli.worker
import talo.stores.rabbitmq.store
import talo.stores.redis.store
import talo.stores.sql.store  # noqa: F401

#: Bytes that a request may have.
_MOST = 1 << 20


def _serve(channel: socket.socket) -> bool:
    """Answer requests. Returns True in a process that is to become a command, False when nobody asks any more."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _MOST, 3)
        if not message:
            return False
        request = json.loads(message)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            channel.send(json.dumps(os.waitstatus_to_exitcode(status) if pid else None).encode())
            continue
        born, bears = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(born)
            channel.close()
            _become(request, descriptors, bears)
            return True
        for descriptor in (bears, *descriptors):
            os.close(descriptor)
        with open(born, "rb") as told:
            told.read()
        channel.send(json.dumps(pid).encode())


def _become(request: dict[str, Any], descriptors: list[int], bears: int) -> None:
    """Give this process what a new one would have; the closed pipe tells that it has it."""
    if request["session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.close(bears)
    sys.orig_argv = request["command"]
    sys.argv = ["-m", *request["command"][3:]]
    sys.path[0] = os.getcwd()
    del sys.modules["tests"]
    importlib.invalidate_caches()


if __name__ == "__main__":
    given = socket.socket(fileno=int(sys.argv[1]))
    with contextlib.closing(given):
        becomes = _serve(given)
    if becomes:
        runpy.run_module("talo", run_name="__main__", alter_sys=True)
