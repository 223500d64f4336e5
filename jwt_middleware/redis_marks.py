"""How marks lie in Redis.

A mark that is put stands in three places, written by one script: under a key of its
own, for `add`; in the set of the hour in which it ends, for workers that begin; and
at the end of a log, for those that run.  A mark that is added stands under its key
alone: who adds wants to be the only one, and nobody else looks for it.
"""

from __future__ import annotations

import math
import re
import secrets
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any

from .fork import start_anew_after_fork
from .marks import Mark

PACKED = struct.Struct(">12sdd")
"""A key, its date and its end."""
ANSWER_S = 1.0
SILENCE_S = 1.5
"""Beyond the time for which a reader asked to be kept waiting."""
WAIT_MS = 500
READ_AT_ONCE = 2000
HOUR_S = 3600
NEVER = 10**15
"""Seconds since 1970: the end of a mark without one, as Redis counts."""
GRACE_S = 3600
"""For which Redis keeps what has ended, since its clock may be ahead of ours."""

ADD = """
local standing = redis.call('GET', KEYS[1])
if standing and tonumber(string.match(standing, '^%S+')) > tonumber(ARGV[1]) then
    return standing
end
if tonumber(string.match(ARGV[2], '^%S+')) <= tonumber(ARGV[1]) then
    return 1
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('EXPIREAT', KEYS[1], ARGV[3])
return 1
"""
PUT = """
local sets, log, now, entry = KEYS[1], KEYS[2], redis.call('TIME')[1], nil
for i = 1, #ARGV / 4 do
    local mark, set = KEYS[2 * i + 1], KEYS[2 * i + 2]
    local ends, forgotten = ARGV[4 * i - 3], ARGV[4 * i - 2]
    local stands, packed = ARGV[4 * i - 1], ARGV[4 * i]
    local standing = redis.call('GET', mark)
    if not standing or tonumber(string.match(standing, '^%S+')) < tonumber(ends) then
        redis.call('SET', mark, stands)
        redis.call('EXPIREAT', mark, forgotten)
    end
    redis.call('SADD', set, packed)
    redis.call('EXPIREAT', set, forgotten)
    redis.call('ZADD', sets, forgotten, set)
    entry = redis.call('XADD', log, '*', 'mark', packed)
end
redis.call('ZREMRANGEBYSCORE', sets, '-inf', now)
redis.call('XTRIM', log, 'MINID', '~', (now - 3600) * 1000)
return entry
"""

ANYTHING = re.compile(rb".+", re.DOTALL)
ENTRY = re.compile(rb"\d+-\d+")
Entry = tuple[bytes, dict[bytes, bytes]]


class RedisMarks:
    """Marks in Redis, under keys with one *prefix*, all in one slot of a cluster.

    *connect* makes a client whose answers may take so many seconds.  What is not the
    answer that was asked for raises ConnectionError.
    """

    def __init__(
        self, connect: Callable[[float], Any], prefix: str, block_s: float
    ) -> None:
        self._connect = connect
        self._block_s = block_s
        self._prefix = f"{{{prefix}}}:".encode()
        self._sets = self._prefix + b"sets"
        self._log = self._prefix + b"log"
        self._epoch = self._prefix + b"epoch"
        self._healer = self._prefix + b"healer"
        self._none = self._prefix + b"none"
        self._lock = threading.Lock()
        self._clients: dict[float, Any] = {}
        start_anew_after_fork(self)

    @property
    def _reader(self) -> Any:
        return self._client(self._block_s + SILENCE_S)

    @property
    def _writer(self) -> Any:
        return self._client(ANSWER_S)

    def _client(self, answer_s: float) -> Any:
        with self._lock:
            if answer_s not in self._clients:
                self._clients[answer_s] = self._connect(answer_s)
            return self._clients[answer_s]

    def close(self) -> None:
        """Close the connections; they are opened again where they are needed."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def start_anew(self) -> None:
        self._lock, self._clients = threading.Lock(), {}

    def add(
        self, key: bytes, at: float, until: float, now: float
    ) -> tuple[float, float] | None:
        """Mark *key* if it is not; else return the date and end that stand."""
        mark, stands = self._prefix + b"mark:" + key, f"{_ends(until)} {at!r}"
        arguments = (repr(now), stands, _forgotten(until))
        answer = self._writer.eval(ADD, 1, mark, *arguments)
        if isinstance(answer, int):
            return None if answer == 1 else _refuse(answer)
        ends, date = _expect(answer).split()
        return float(date), float(ends)

    def put(self, marks: Iterable[Mark], replicas: int = 0) -> tuple[bytes, int]:
        """Mark several at once.  Return the last entry of the log, and how many
        replicas have it, which is waited for."""
        keys, arguments = [self._sets, self._log], []
        for key, at, until in marks:
            place, forgotten = self.set_of(until)
            keys += [self._prefix + b"mark:" + key, place]
            arguments += [_ends(until), forgotten]
            arguments += [f"{_ends(until)} {at!r}", PACKED.pack(key, at, until)]
        if not replicas:
            entry = self._writer.eval(PUT, len(keys), *keys, *arguments)
            return _expect(entry, ENTRY), 0
        pipeline = self._writer.pipeline(transaction=False)  # on one connection
        pipeline.eval(PUT, len(keys), *keys, *arguments)
        pipeline.execute_command("WAIT", replicas, WAIT_MS)
        entry, reached = pipeline.execute()
        return _expect(entry, ENTRY), int(reached)

    def set_of(self, until: float) -> tuple[bytes, int]:
        """Where a mark with this end lies, and when Redis may forget that."""
        return self._prefix + b"set:%d" % _hour(until), _forgotten(until)

    def epoch(self, *, begins: bool = False) -> bytes | None:
        """A random value: where it is another one, Redis has begun anew."""
        epoch = self._reader.get(self._epoch)
        if epoch is None and begins:
            self._reader.set(self._epoch, secrets.token_hex(8), nx=True)
            epoch = self._reader.get(self._epoch)
        return None if epoch is None else _expect(epoch)

    def ensure_master(self) -> None:
        """Raise where the server is a replica: it may be behind, and not know it."""
        self._reader.delete(self._none)  # which changes nothing, and no replica does

    def has_lost_sets(self, now: float) -> bool:
        """Whether a set is gone before its time, as where Redis evicts keys."""
        reader = self._reader
        places = reader.zrange(self._sets, 0, -1, withscores=True)
        return any(
            forgotten > now + GRACE_S / 2 and not reader.exists(place)
            for place, forgotten in places
        )

    def has(self, entry: bytes) -> bool:
        """Whether the log goes back to *entry*, and nothing before it is lost."""
        return bool(entry and self._reader.xrange(self._log, entry, entry))

    def newest(self) -> bytes:
        """The last entry of the log, or nothing."""
        found = self._reader.xrevrange(self._log, count=1)
        return _expect(found[0][0], ENTRY) if found else b""

    def read(self, after: bytes, *, wait: bool) -> list[Entry]:
        """Entries after one; none after a silence."""
        block = int(self._block_s * 1000) if wait else 1
        found = self._reader.xread(
            {self._log: after or b"0-0"}, count=READ_AT_ONCE, block=block
        )
        return found[0][1] if found else []

    def copy_to(self, take: Callable[[Iterable[Mark]], None]) -> None:
        """Give *take* all that stands, bit by bit: no answer holds anybody up."""
        for place in self._reader.zrange(self._sets, 0, -1):
            cursor = -1
            while cursor:
                found = self._reader.sscan(place, max(cursor, 0), count=READ_AT_ONCE)
                cursor = found[0]
                take(PACKED.iter_unpack(b"".join(found[1])))

    def may_heal(self, name: bytes, seconds: int) -> bool:
        """Whether *name* is the one who gives back what was lost, for *seconds*."""
        if self._writer.set(self._healer, name, nx=True, ex=seconds):
            return True
        if self._writer.get(self._healer) != name:
            return False
        self._writer.expire(self._healer, seconds)
        return True

    def end_healing(self) -> None:
        """Let another one see whether all is there."""
        self._writer.delete(self._healer)


def _expect(answer: object, form: re.Pattern[bytes] = ANYTHING) -> bytes:
    if not isinstance(answer, bytes) or not form.fullmatch(answer):
        _refuse(answer)
    return answer  # type: ignore[return-value]


def _refuse(answer: object) -> Any:
    raise ConnectionError(f"not the answer that was asked for: {type(answer).__name__}")


def _ends(until: float) -> str:
    return repr(min(until, NEVER))


def _hour(until: float) -> int:
    return math.ceil(min(until, NEVER) / HOUR_S)


def _forgotten(until: float) -> int:
    """When Redis may forget a mark with this end."""
    return _hour(until) * HOUR_S + GRACE_S
