"""The contract suite: what every store has to pass, whatever it is made of.

Owns the rules of ``stores/base.py`` as tests. It knows no store: a store's tests subclass ``StoreContract`` and provide
the fixture ``place``, an empty ``Place`` per test::

    class TestSqlite(StoreContract):
        @pytest.fixture
        def place(self, tmp_path): ...

Callers: ``tests/contract`` for Talo's own stores, and the tests of anybody's store. Needs pytest.
"""

from __future__ import annotations

from talo.testing.contract._support import Place
from talo.testing.contract.broker import BrokerContract
from talo.testing.contract.bus import BusContract
from talo.testing.contract.dead import DeadContract
from talo.testing.contract.groups import GroupContract
from talo.testing.contract.history import HistoryContract
from talo.testing.contract.leases import LeaseContract
from talo.testing.contract.ledger import LedgerContract
from talo.testing.contract.locks import LockContract
from talo.testing.contract.process import ForkContract, ProcessContract
from talo.testing.contract.raw import RawContract
from talo.testing.contract.rescheduling import ReschedulingContract
from talo.testing.contract.results import ResultContract
from talo.testing.contract.schedules import ScheduleContract
from talo.testing.contract.settling import SettlingContract
from talo.testing.contract.waiting import WaitingContract

__all__ = [
    "BrokerContract",
    "BusContract",
    "DeadContract",
    "ForkContract",
    "GroupContract",
    "HistoryContract",
    "LeaseContract",
    "LedgerContract",
    "LockContract",
    "Place",
    "ProcessContract",
    "RawContract",
    "ReschedulingContract",
    "ResultContract",
    "ScheduleContract",
    "SettlingContract",
    "StoreContract",
    "WaitingContract",
]


class StoreContract(
    BrokerContract,
    SettlingContract,
    GroupContract,
    WaitingContract,
    LeaseContract,
    DeadContract,
    ResultContract,
    BusContract,
    LockContract,
    ProcessContract,
):
    """Every rule that holds for every store. One that keeps schedules takes ``ScheduleContract`` besides,
    one that keeps history ``HistoryContract``, one that reschedules ``ReschedulingContract``, one that keeps a ledger
    for a broker beside it ``LedgerContract``."""
