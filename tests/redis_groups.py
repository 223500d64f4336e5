"""Redis servers that belong together: replication, sentinels, a cluster.

with SentinelSet() as sentinels:
    RedisStore(..., sentinels.addresses, sentinels.name) ...
    sentinels.failover()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from redis.crc import key_slot

from .redis_server import HOST, RedisServer, eventually

SLOTS = 16_384
"""Of a cluster, so it is fixed in the protocol."""
DOWN_AFTER_MS = 1_500
"""Of silence, before a sentinel takes the master for dead.

It asks each second: with less than that, a reconnection is a death.
"""


class _Group(ABC):
    """Runs from `__enter__` on, when all of it is ready."""

    def __init__(self) -> None:
        self._running = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    @abstractmethod
    def _start(self) -> None: ...

    def _run(self, server: RedisServer) -> RedisServer:
        return self._running.enter_context(server)


class Replication(_Group):
    """A master, and a replica that has caught up once."""

    master: RedisServer
    replica: RedisServer

    def _start(self) -> None:
        at_once = "repl-diskless-sync-delay 0"
        self.master = self._run(RedisServer(at_once))
        replicaof = f"replicaof {HOST} {self.master.port}"
        self.replica = self._run(RedisServer(at_once, replicaof))
        self.wait_for_replica()

    def wait_for_replica(self) -> None:
        """Block until the replica has all that was written to the master."""

        def is_level() -> bool:
            offsets = [
                server.info("master_repl_offset")
                for server in (self.master, self.replica)
            ]
            return self.master.command("WAIT", 1, 1) == 1 and len(set(offsets)) == 1

        eventually(is_level, "the replica has what the master has")

    def part(self) -> None:
        """Make the replica a master of its own; it hears of no write any more."""
        assert self.replica.command("REPLICAOF", "NO", "ONE")

    def promote(self) -> RedisServer:
        """Part, and swap the names: the new master, with what it had by then."""
        self.part()
        self.master, self.replica = self.replica, self.master
        return self.master

    def follow(self) -> None:
        """Make the replica, by its name now, follow the master; what it had is lost."""
        assert self.replica.command("REPLICAOF", HOST, self.master.port)
        self.wait_for_replica()


class SentinelSet(Replication):
    """A master, its replica, and three sentinels that know of them and each other."""

    name = "tests"
    """What the sentinels call the master."""
    sentinels: tuple[RedisServer, ...]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The sentinels, as redis-py wants them."""
        return [(HOST, sentinel.port) for sentinel in self.sentinels]

    def _start(self) -> None:
        super()._start()
        config = (
            f"sentinel monitor {self.name} {HOST} {self.master.port} 2",
            f"sentinel down-after-milliseconds {self.name} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {self.name} 5000",
        )
        self.sentinels = tuple(
            self._run(RedisServer(*config, sentinel=True)) for _ in range(3)
        )
        eventually(self._is_agreed, "three sentinels agree")

    def _is_agreed(self) -> bool:
        agreed = {
            "name": self.name,
            "status": "ok",
            "address": f"{HOST}:{self.master.port}",
            "slaves": 1,
            "sentinels": len(self.sentinels),
        }
        return all(sentinel.info("master0") == agreed for sentinel in self.sentinels)

    def failover(self) -> RedisServer:
        """Kill the master; the new one, when all sentinels say that it is.

        The dead one is `replica` then.  Restarted it is a master, which the sentinels
        correct after some eight seconds, and `follow` at once.
        """
        self.master.kill()
        self.master, self.replica = self.replica, self.master
        eventually(
            lambda: self._is_agreed() and self.master.info("role") == "master",
            "a failover",
        )
        return self.master


class Cluster(_Group):
    """Three masters, with a third of the slots each."""

    nodes: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        """Of one node, from which a client learns of the others."""
        return self.nodes[0].url

    def _start(self) -> None:
        self.nodes = tuple(self._run(RedisServer(cluster=True)) for _ in range(3))
        for epoch, node in enumerate(self.nodes, 1):
            slots = [slot for slot in range(SLOTS) if self._owner(slot) is node]
            assert node.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            assert node.command("CLUSTER", "ADDSLOTS", *slots)
        for node in self.nodes[1:]:
            assert node.command("CLUSTER", "MEET", HOST, self.nodes[0].port)
        eventually(
            lambda: all(self._is_whole(node) for node in self.nodes), "a cluster"
        )

    def _owner(self, slot: int) -> RedisServer:
        return self.nodes[slot * len(self.nodes) // SLOTS]

    def owner(self, key: str) -> RedisServer:
        """The node that has *key*."""
        return self._owner(key_slot(key.encode()))

    def _is_whole(self, node: RedisServer) -> bool:
        state = str(node.command("CLUSTER", "INFO"))
        wanted = (
            "cluster_state:ok",
            f"cluster_slots_ok:{SLOTS}",
            f"cluster_known_nodes:{len(self.nodes)}",
        )
        return all(line in state for line in wanted)
