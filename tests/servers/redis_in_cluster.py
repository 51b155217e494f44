"""A cluster where tests expect one Redis server, so that what holds for the one can be seen to hold for the other.

A database is a key prefix with a slot of its own. It has nothing that only a single server has (its port, its pid):
tests about that are marked ``one_server``, and left out.
"""

from __future__ import annotations

from contextlib import nullcontext

from talo.stores.redis.cluster import slot_of
from tests.servers.proxy import Proxy
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_process import RedisServer, command
from tests.servers.redis_unrest import Unrest

__all__ = ["RedisInCluster"]

#: Commands about the server, not about keys; they are told to every node.
_SERVER = frozenset({"ACL", "CLIENT", "CONFIG", "INFO", "SCRIPT"})
#: Commands of which every word is a key.
_SEVERAL = frozenset({"DEL", "EXISTS", "MGET", "UNLINK"})


def _text(word: str | bytes) -> str:
    return word.decode() if isinstance(word, bytes) else word


class RedisInCluster:
    """Six nodes that look like a ``RedisServer``. ``unrest`` is what troubles them, if anything does."""

    unrest: Unrest | None = None

    def __init__(self, cluster: RedisCluster) -> None:
        self.cluster = cluster

    @property
    def running(self) -> bool:
        """Whether any node is."""
        return bool(self.cluster.living)

    def start(self) -> RedisInCluster:
        """Start it, or start its nodes again with what they kept."""
        if not self.cluster.nodes:
            self.cluster.start()
            return self
        for node in self.cluster.nodes:
            node.start()
        self.cluster.is_well()
        return self

    @property
    def url(self) -> str:
        """Its database 0."""
        return self.url_of(0)

    def url_of(self, db: int, login: str | None = None) -> str:
        """One of its databases; for somebody else, if there is a ``login`` (user:password)."""
        if self.unrest is not None:
            self.unrest.slot = self._slot(db)
        first, *others = self.cluster.url_of(login).split(";")
        # At the end, where it is with a single server too.
        return ";".join([*others, f"{first}?global_keyprefix={self.prefix(db)}"])

    def proxy(self) -> Proxy:
        """One in front of every node, not started yet."""
        return Proxy("127.0.0.1", *(node.port for node in self.cluster.nodes))

    def prefix(self, db: int) -> str:
        """What its keys begin with."""
        return f"{{db{db}}}:"

    def command(self, *words: str | bytes, db: int = 0) -> bytes:
        """The raw reply to one command, which finds its keys under the prefix of the database."""
        with nullcontext() if self.unrest is None else self.unrest.peace:
            return self._command(words, db)

    def _command(self, words: tuple[str | bytes, ...], db: int) -> bytes:
        name = _text(words[0])
        master = self.cluster.master_of(self._slot(db))
        if name in _SERVER:
            replies = {node.port: self._ask(node, *words) for node in self.cluster.living}
            return replies[master.port]
        if name in ("DBSIZE", "FLUSHDB"):
            keys = self._keys(master, db)
            if keys and name == "FLUSHDB":
                self.cluster.call(master, "UNLINK", *keys)
            return b":%d\r\n" % len(keys) if name == "DBSIZE" else b"+OK\r\n"
        prefix = self.prefix(db).encode()
        if name == "KEYS":
            found = [
                key.removeprefix(prefix) for key in self.cluster.call(master, name, self.prefix(db) + _text(words[1]))
            ]
            return b"*%d\r\n" % len(found) + b"".join(b"$%d\r\n%b\r\n" % (len(key), key) for key in found)
        count = len(words) - 1 if name in _SEVERAL else 1
        keyed = [prefix + (word if isinstance(word, bytes) else word.encode()) for word in words[1 : 1 + count]]
        return self._ask(master, name, *keyed, *words[1 + count :])

    @property
    def ports(self) -> list[int]:
        """Where its masters are asked."""
        return [node.port for node in self.cluster.masters]

    def _keys(self, master: RedisServer, db: int) -> list[bytes]:
        slot = self._slot(db)
        count = self.cluster.call(master, "CLUSTER", "COUNTKEYSINSLOT", slot)
        return list(self.cluster.call(master, "CLUSTER", "GETKEYSINSLOT", slot, count))

    def _ask(self, node: RedisServer, *words: str | bytes) -> bytes:
        return command(node.port, *words, select=False)

    def _slot(self, db: int) -> int:
        return slot_of(f"db{db}")

    def stop(self) -> None:
        """End all nodes in good order."""
        for node in self.cluster.nodes:
            node.stop()

    def kill(self) -> None:
        """End all nodes as a power cut would."""
        for node in self.cluster.nodes:
            node.kill()

    def appended(self) -> bytes:
        """All that was ever written to a durable one, on any node."""
        return b"".join(node.appended() for node in self.cluster.nodes)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop all nodes as they are."""
        for node in self.cluster.nodes:
            node.pause()

    def resume(self) -> None:
        """Let them go on after ``pause``."""
        for node in self.cluster.nodes:
            node.resume()

    def remove(self) -> None:
        """Kill them and delete their data."""
        self.cluster.remove()
