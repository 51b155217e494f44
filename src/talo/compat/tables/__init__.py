"""Which names of Celery's and its neighbours' stand for what of Talo's, and why others stand for nothing.

Owns data only, read by ``compat.finder``: nothing named here is imported before it is used.
"""

from talo.compat.tables.absent import ABSENT
from talo.compat.tables.beside import BESIDE
from talo.compat.tables.celery import CELERY
from talo.compat.tables.utils import UTILS

#: Module -> public name -> where the object is.
TABLE = {**CELERY, **UTILS, **BESIDE}

__all__ = ["ABSENT", "TABLE"]
