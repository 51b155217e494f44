"""Composing task calls: the signature, and what grows from it.

Owns calls as data and how they combine; sending them is the app's, telling what an ended task frees is ``execution``'s.
"""

from talo.canvas.primitives import chain, chord, chunks, group, xmap, xstarmap
from talo.canvas.signature import Signature, maybe_signature, signature, subtask
from talo.canvas.stamping import StampingVisitor

__all__ = [
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
