"""Composing task calls: the signature, and what grows from it.

Owns calls as data and how they combine; sending them is the app's, telling what an ended task frees is ``execution``'s.
"""

from talo.canvas.signature import Signature, maybe_signature, signature, subtask

__all__ = ["Signature", "maybe_signature", "signature", "subtask"]
