"""Read and write marks in Redis.

`put` writes a mark to three places, in one script: under a key of its own, for `add`;
in the set of the hour in which the mark ends, for workers that start; and at the end of
a log, for workers that run.  `add` writes a mark only under its key: it decides between
callers, and no other worker looks the mark up.

Redis may lose all or some of this.  An epoch, a random value, changes whenever it does.
The index of the sets has a member ``whole:EPOCH`` once no worker owes entries.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .fork import start_anew_after_fork
from .marks import Mark, fingerprint_of
from .redis_forms import (
    ENTRY,
    EPOCH_DIGITS,
    OTHER_SECRET,
    PACKED,
    News,
    ends,
    ensure_same_secret,
    expect,
    forgotten,
    hour,
    refuse,
)
from .redis_scripts import ADD, FORGET_LOST, PUT

ANSWER_S = 1.0
SILENCE_S = 1.5
"""Seconds to wait for an answer, beyond the time for which a reader asked to wait."""
WAIT_MS = 500
READ_AT_ONCE = 2000
OWED_S = 30
"""Seconds after which a worker that died no longer counts as owing entries."""


class RedisMarks:
    """Marks in Redis, under keys with one *prefix*, all in one slot of a cluster.

    *connect* makes a client that waits for an answer for a given number of seconds.
    Names are hashed with *secret*; if Redis has names with another secret, raise
    OtherSecret.  If Redis gives an unexpected answer, raise ConnectionError.
    """

    def __init__(
        self,
        connect: Callable[[float], Any],
        prefix: str,
        block_s: float,
        secret: bytes = b"",
    ) -> None:
        self._connect = connect
        self._fingerprint = fingerprint_of(secret).hex().encode()
        self.block_s = block_s
        """Seconds for which a reader may wait for something new."""
        self._prefix = f"{{{prefix}}}:".encode()
        self._sets = self._prefix + b"sets"
        self._log = self._prefix + b"log"
        self._epoch = self._prefix + b"epoch"
        self._healer = self._prefix + b"healer"
        self._owed = self._prefix + b"owed"
        self._none = self._prefix + b"none"
        self._clients: dict[float, Any] = {}
        start_anew_after_fork(self)

    @property
    def _reader(self) -> Any:
        return self._client(self.block_s + SILENCE_S)

    @property
    def _writer(self) -> Any:
        return self._client(ANSWER_S)

    def _client(self, answer_s: float) -> Any:
        """Return a client, without a lock: making one for a cluster connects."""
        if answer_s in (clients := self._clients):
            return clients[answer_s]
        made = self._connect(answer_s)  # of two threads, the client of one remains
        return clients.setdefault(answer_s, made)

    def close(self) -> None:
        """Close the connections; they are opened again where they are needed."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def start_anew(self) -> None:
        self._clients = {}

    def add(
        self, key: bytes, at: float, until: float, now: float, epoch: bytes = b""
    ) -> tuple[float, float] | None:
        """Mark *key* unless it is marked; else return the date and end of its mark.

        Raise ConnectionError if Redis has lost entries, or has another *epoch*.
        """
        keys = self._prefix + b"mark:" + key, self._epoch, self._owed
        stands = f"{ends(until)} {at!r}"
        known = (epoch, self._fingerprint)
        arguments = (repr(now), stands, forgotten(until), *known)
        answer = self._writer.eval(ADD, len(keys), *keys, *arguments)
        ensure_same_secret(answer)
        if isinstance(answer, int):
            return None if answer == 1 else refuse(answer)
        end, date = expect(answer).split()
        return float(date), float(end)

    def put(self, marks: Iterable[Mark], replicas: int = 0) -> tuple[bytes, int]:
        """Write several marks at once, and wait for *replicas*.

        Return the last entry of the log, and how many replicas have it.
        """
        keys = [self._sets, self._log, self._epoch]
        arguments: list[Any] = [self._fingerprint]
        for key, at, until in marks:
            place, forgotten = self.set_of(until)
            keys += [self._prefix + b"mark:" + key, place]
            arguments += [ends(until), forgotten]
            arguments += [f"{ends(until)} {at!r}", PACKED.pack(key, at, until)]
        if not replicas:
            entry = self._writer.eval(PUT, len(keys), *keys, *arguments)
            ensure_same_secret(entry)
            return expect(entry, ENTRY), 0
        pipeline = self._writer.pipeline(transaction=False)  # on one connection
        pipeline.eval(PUT, len(keys), *keys, *arguments)
        pipeline.execute_command("WAIT", replicas, WAIT_MS)
        entry, reached = pipeline.execute()
        ensure_same_secret(entry)
        return expect(entry, ENTRY), int(reached)

    def set_of(self, until: float) -> tuple[bytes, int]:
        """Return the set for a mark with this end, and when Redis may drop the set."""
        return self._prefix + b"set:%d" % hour(until), forgotten(until)

    def epoch(self, *, begins: bool = False) -> bytes | None:
        """Return the epoch, or None.  With *begins*, begin one if there is none."""
        epoch = self._reader.get(self._epoch)
        if epoch is None and begins:
            begun = secrets.token_hex(EPOCH_DIGITS // 2).encode() + self._fingerprint
            self._reader.set(self._epoch, begun, nx=True)
            epoch = self._reader.get(self._epoch)
        if epoch is None:
            return None
        if expect(epoch)[EPOCH_DIGITS:] != self._fingerprint:
            ensure_same_secret(OTHER_SECRET)
        return expect(epoch)

    def read(self, after: bytes, epoch: bytes, wait_s: float = 0) -> News:
        """Return the new entries of the log; wait *wait_s* seconds if there are none.

        All questions go in one request, since a server may be far away; the other
        answers are later than the log.  If the server is a replica, which may be
        behind, redis-py raises an error.
        """
        asked = self._reader.pipeline(transaction=False)
        block = math.ceil(wait_s * 1000) or None
        asked.xread({self._log: after or b"0-0"}, count=READ_AT_ONCE, block=block)
        asked.delete(self._none)  # this changes nothing, and a replica refuses it
        asked.get(self._epoch)
        asked.zscore(self._sets, b"whole:" + epoch)
        asked.exists(self._owed)
        asked.xrange(self._log, after or b"+", after or b"+")
        found, _, current, whole, owed, last = asked.execute()
        entries = found[0][1] if found else []
        is_same = current == epoch and bool(last or not after)
        return News(entries, is_same, whole is not None, bool(owed))

    def has(self, entry: bytes) -> bool:
        """Return whether the log still has *entry*."""
        return bool(self._reader.xrange(self._log, entry, entry))

    def newest(self) -> bytes:
        """Return the last entry of the log, or an empty string."""
        found = self._reader.xrevrange(self._log, count=1)
        return expect(found[0][0], ENTRY) if found else b""

    def copy_to(self, take: Callable[[Iterable[Mark]], None]) -> None:
        """Give *take* all marks, in batches: no answer blocks Redis for long."""
        for place in self._places():
            cursor = -1
            while cursor:
                found = self._reader.sscan(place, max(cursor, 0), count=READ_AT_ONCE)
                cursor = found[0]
                take(PACKED.iter_unpack(b"".join(found[1])))

    def _places(self) -> Sequence[bytes]:
        places = self._reader.zrange(self._sets, 0, -1)
        return [place for place in places if not place.startswith(b"whole:")]

    def forget_lost(self) -> bool:
        """Return whether Redis has dropped sets too early, such as by eviction.

        If so, remove them from the index and end the epoch.
        """
        places = self._places()
        asked = self._reader.pipeline(transaction=False)
        for place in places:
            asked.exists(place)
        held = zip(places, asked.execute(), strict=True)
        gone = [place for place, is_there in held if not is_there]
        keys = [self._sets, self._epoch, *gone]
        return bool(gone and self._writer.eval(FORGET_LOST, len(keys), *keys))

    def owe(self, name: bytes) -> None:
        """Note for `OWED_S` seconds that worker *name* has entries to write back."""
        asked = self._writer.pipeline(transaction=False)
        asked.sadd(self._owed, name)
        asked.expire(self._owed, OWED_S)
        asked.execute()

    def end_owing(self, name: bytes) -> None:
        """Note that the worker *name* has nothing more to write back."""
        self._writer.srem(self._owed, name)

    def mark_whole(self, epoch: bytes) -> None:
        """Note that Redis has, in this epoch, all entries that any worker has."""
        asked = self._writer.pipeline(transaction=False)
        asked.zremrangebyscore(self._sets, "+inf", "+inf")  # those of other epochs
        asked.zadd(self._sets, {b"whole:" + epoch: math.inf})
        asked.execute()

    def may_heal(self, name: bytes, seconds: int) -> bool:
        """Return whether the worker *name* may write back, for the next *seconds*."""
        if self._writer.set(self._healer, name, nx=True, ex=seconds):
            return True
        if self._writer.get(self._healer) != name:
            return False
        self._writer.expire(self._healer, seconds)
        return True

    def end_healing(self, name: bytes) -> None:
        """Let another worker write back, if *name* is the one that may."""
        if self._writer.get(self._healer) == name:
            self._writer.delete(self._healer)
