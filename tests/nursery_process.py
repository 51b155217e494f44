"""The process that ``tests.nursery`` forks commands from: ``python -m tests.nursery_process DESCRIPTOR MODULE...``.

It has imported the command and the clients of the stores, the modules that are named, and nothing of an app; it has no
thread and no connection.
A request on its socket is JSON: of a start, with the descriptors of standard input, output and error, or a question
after an end. It ends when the socket is closed at the other side, and leaves what it started alone.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import socket
import sys
import time
import types
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
#: What is on the path of this process before the library: where it was started, the sources and the tests.
_OURS = 3


def _serve(channel: socket.socket) -> list[str]:
    """Answer requests. Returns the command in a process that is to become one, nothing when nobody asks any more."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _MOST, 3)
        if not message:
            return []
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
            return list(request["command"])
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
    sys.path[_OURS:_OURS] = os.environ["PYTHONPATH"].split(os.pathsep)[_OURS - 1 :]
    del sys.modules["tests"]
    importlib.invalidate_caches()


def _run(command: list[str]) -> None:
    """Do what the interpreter does with these words."""
    match command[1:]:
        case ["-m", module, *words]:
            sys.argv, sys.path[0] = ["-m", *words], os.getcwd()
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *words]:
            sys.argv, sys.path[0] = ["-c", *words], ""
            _run_code(code, "<string>")
        case [script, *words]:
            sys.argv, sys.path[0] = [script, *words], os.path.dirname(os.path.realpath(script))
            file = os.path.abspath(script)
            with open(file, "rb") as opened:
                source = opened.read()
            _run_code(source, file, __file__=file)


def _run_code(source: str | bytes, name: str, **facts: str) -> None:
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    vars(main).update(facts)
    exec(compile(source, name, "exec"), vars(main))


if __name__ == "__main__":
    given = socket.socket(fileno=int(sys.argv[1]))
    for known in sys.argv[2:]:
        importlib.import_module(known)
    # What all have in common stays in common: nobody's collector writes into it, nor at its end.
    gc.freeze()
    with contextlib.closing(given):
        becomes = _serve(given)
    if becomes:
        _run(becomes)
