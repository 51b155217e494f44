"""Plain functions: Django Q's tasks are no objects."""

import datetime
import time


def minha_funcao(x, y):
    return x + y


def days(moment, *, more=()):
    return moment + datetime.timedelta(days=len(more))


def fail(times=99, name="fails"):
    with open(name, "a") as log:
        log.write("!")
    with open(name) as log:
        if len(log.read()) <= times:
            raise LookupError("not this time")
    return "at last"


def endless():
    time.sleep(120)


def hook(task):
    with open("hooks", "a") as log:
        log.write(f"{task.name} {task.success} {task.group} {task.result!r}\n")


def note(text, when=None):
    with open("notes", "a") as log:
        log.write(f"{text} {when or ''}\n")
    return text
