"""How marks lie in Redis, and how they reach every worker.

A mark that is put stands in three places, written by one script: under a key of its
own, for `add`; in the set of the hour in which it ends, for workers that begin; and
at the end of a stream, for those that run.  A mark that is added stands under its key
alone: who adds wants to be the only one, and nobody else looks for it.
"""

from __future__ import annotations

import logging
import math
import secrets
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from itertools import islice
from typing import Any

from .marks import Mark, Marks
from .replica import Replica

logger = logging.getLogger("jwt_middleware")

PACKED = struct.Struct(">12sdd")
"""A key, its date and its end."""
BLOCK_MS = 1000
"""The longest silence of a server that is well."""
SILENCE_S = 1.5
"""Beyond that, before the connection is given up."""
ANSWER_S = 1.0
WAIT_MS = 500
READ_AT_ONCE = 2000
HEALED_AT_ONCE = 500
HEALER_S = 30
HOUR_S = 3600
NEVER = 10**15
"""Seconds since 1970: the end of a mark without one, as Redis counts."""
GRACE_S = 3600
"""For which Redis keeps what has ended, since its clock may be ahead of ours."""

ADD = """
local standing = redis.call('GET', KEYS[1])
if standing and tonumber(standing) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('EXPIREAT', KEYS[1], ARGV[3])
return 1
"""
PUT = """
local sets, log, now = KEYS[1], KEYS[2], redis.call('TIME')[1]
for i = 1, #ARGV / 3 do
    local mark, set = KEYS[2 * i + 1], KEYS[2 * i + 2]
    local ends, forgotten, packed = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
    local standing = redis.call('GET', mark)
    if not standing or tonumber(standing) < tonumber(ends) then
        redis.call('SET', mark, ends)
        redis.call('EXPIREAT', mark, forgotten)
    end
    redis.call('SADD', set, packed)
    redis.call('EXPIREAT', set, forgotten)
    redis.call('ZADD', sets, forgotten, set)
    redis.call('XADD', log, '*', 'mark', packed)
end
redis.call('ZREMRANGEBYSCORE', sets, '-inf', now)
redis.call('XTRIM', log, 'MINID', '~', (now - 3600) * 1000)
return 1
"""


class Layout:
    """The names of the keys, all in one slot of a cluster."""

    def __init__(self, prefix: str) -> None:
        self._prefix = f"{{{prefix}}}:".encode()
        self.sets = self._prefix + b"sets"
        self.log = self._prefix + b"log"
        self.epoch = self._prefix + b"epoch"
        """A random value: where it is another one, Redis has begun anew."""
        self.healer = self._prefix + b"healer"

    def mark(self, key: bytes) -> bytes:
        return self._prefix + b"mark:" + key

    def set_of(self, until: float) -> bytes:
        return self._prefix + b"set:%d" % _hour(until)


class Stream:
    """Marks in Redis; the feed of a `Replica`.

    *connect* makes a client whose answers may take so many seconds.
    """

    def __init__(self, connect: Callable[[float], Any], prefix: str) -> None:
        self._connect = connect
        self._layout = Layout(prefix)
        self._last = b""
        """The entry of the log up to which all is known."""
        self._epoch = b""
        self._debts: Iterator[Mark] = iter(())
        self._owes = self._heals = False
        """Whether Redis may have lost marks that we hold; whether we give them back."""

    @cached_property
    def _reader(self) -> Any:
        return self._connect(BLOCK_MS / 1000 + SILENCE_S)

    @cached_property
    def _writer(self) -> Any:
        return self._connect(ANSWER_S)

    def add(self, key: bytes, until: float, now: float) -> bool:
        """Mark *key* if it is not.  False where it was."""
        ends = min(until, NEVER)
        arguments = (repr(now), repr(ends), _forgotten(until))
        return bool(self._writer.eval(ADD, 1, self._layout.mark(key), *arguments))

    def put(self, marks: Iterable[Mark], replicas: int = 0) -> int:
        """Mark several, as one; wait for so many replicas, and return how many."""
        layout = self._layout
        keys, arguments = [layout.sets, layout.log], []
        for key, at, until in marks:
            keys += [layout.mark(key), layout.set_of(until)]
            packed = PACKED.pack(key, at, until)
            arguments += [repr(min(until, NEVER)), _forgotten(until), packed]
        if not replicas:
            self._writer.eval(PUT, len(keys), *keys, *arguments)
            return 0
        pipeline = self._writer.pipeline(transaction=False)  # on one connection
        pipeline.eval(PUT, len(keys), *keys, *arguments)
        pipeline.execute_command("WAIT", replicas, WAIT_MS)
        return int(pipeline.execute()[-1])

    def close(self) -> None:
        """Close the connections; they are opened again where they are needed."""
        for name in ("_reader", "_writer"):
            if client := self.__dict__.pop(name, None):
                client.close()

    def run(self, replica: Replica, stop: threading.Event) -> None:
        begun = replica.clock()
        self._begin(replica)
        replica.confirm(begun)
        while not stop.is_set():
            as_of = replica.clock()
            entries = self._read()
            for identifier, fields in entries:
                self._take(fields, replica)
                self._last = identifier
            if not entries and self._reader.get(self._layout.epoch) != self._epoch:
                raise ConnectionError("it has begun anew")
            if len(entries) < READ_AT_ONCE:  # else there may be more
                replica.confirm(as_of)
            self._heal(replica)

    def _begin(self, replica: Replica) -> None:
        """Go on where the log was left, or else read all that stands."""
        reader, layout = self._reader, self._layout
        reader.set(layout.epoch, secrets.token_hex(8), nx=True)
        epoch = reader.get(layout.epoch)
        if epoch == self._epoch and self._is_there(self._last):
            return
        newest = reader.xrevrange(layout.log, count=1)  # before the sets are read
        self._copy_to(replica.merge_all)
        self._last = newest[0][0] if newest else b""
        # What came back without marks that it had acknowledged is given them again.
        self._owes, self._heals = self._epoch != b"", False
        self._epoch = epoch

    def _is_there(self, entry: bytes) -> bool:
        """Whether the log still goes back to *entry*, and nothing before is lost."""
        return bool(entry and self._reader.xrange(self._layout.log, entry, entry))

    def _copy_to(self, marks: Callable[[Iterable[Mark]], None]) -> None:
        """Give *marks* all that stands, bit by bit: no answer holds anybody up."""
        reader = self._reader
        for place in reader.zrange(self._layout.sets, 0, -1):
            cursor = -1
            while cursor:
                found = reader.sscan(place, max(cursor, 0), count=READ_AT_ONCE)
                cursor = found[0]
                marks(PACKED.iter_unpack(b"".join(found[1])))

    def _read(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Entries beyond the last one; none after a silence."""
        block = 1 if self._heals else BLOCK_MS
        found = self._reader.xread(
            {self._layout.log: self._last or b"0-0"}, count=READ_AT_ONCE, block=block
        )
        return found[0][1] if found else []

    def _take(self, fields: dict[bytes, bytes], replica: Replica) -> None:
        try:
            replica.merge(*PACKED.unpack(fields[b"mark"]))
        except (KeyError, struct.error):
            logger.error("an entry of the log of %r is no mark", self._layout.log)

    def _heal(self, replica: Replica) -> None:
        """Give back what Redis lost, bit by bit; one worker at a time does."""
        writer, healer = self._writer, self._layout.healer
        if self._owes and not self._heals:
            self._heals = bool(writer.set(healer, b"", nx=True, ex=HEALER_S))
            if self._heals:
                there = Marks()
                self._copy_to(partial(there.merge_all, now=replica.now()))
                self._debts = replica.marks.lacking_in(there, replica.now())
        if not self._heals:
            return
        if debts := list(islice(self._debts, HEALED_AT_ONCE)):
            self.put(debts)
            writer.expire(healer, HEALER_S)
        else:
            writer.delete(healer)
            self._owes = self._heals = False


def _hour(until: float) -> int:
    return math.ceil(min(until, NEVER) / HOUR_S)


def _forgotten(until: float) -> int:
    """When Redis may forget a mark with this end."""
    return _hour(until) * HOUR_S + GRACE_S
