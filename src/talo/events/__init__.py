"""Telling and hearing what happens: events in Celery's formats, and remote control on the wire.

Owns one event (``event``), sending (``dispatcher``), hearing (``receiver``), what events add up to (``state``) and
cameras (``snapshot``). Knows no app: that hands itself in, as ``app.events``."""

from talo.events.dispatcher import EventDispatcher
from talo.events.event import Event
from talo.events.node import Worker
from talo.events.receiver import EventReceiver
from talo.events.state import State
from talo.events.task import Task

__all__ = ["Event", "EventDispatcher", "EventReceiver", "State", "Task", "Worker"]
