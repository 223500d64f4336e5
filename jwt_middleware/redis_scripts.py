"""What Redis does in one step, as Lua scripts.

All keys of a script have the same hash tag, so they lie in one slot of a cluster.
"""

from __future__ import annotations

GRACE_S = 3600
"""Seconds for which Redis keeps what has ended: its clock may be ahead of ours."""

ADD = """
local mark, epoch, owed = KEYS[1], KEYS[2], KEYS[3]
local now, stands, forgotten, known = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local current = redis.call('GET', epoch)
if current and string.sub(current, 17) ~= ARGV[5] then
    return 3
end
local standing = redis.call('GET', mark)
if standing and tonumber(string.match(standing, '^%S+')) > tonumber(now) then
    return standing
end
if redis.call('EXISTS', owed) == 1 then
    return 2
end
if known ~= '' and current ~= known then
    return 2
end
if tonumber(string.match(stands, '^%S+')) <= tonumber(now) then
    return 1
end
redis.call('SET', mark, stands)
redis.call('EXPIREAT', mark, forgotten)
return 1
"""
"""Write an entry unless one stands.

Return the entry that stands, 1 if none does, 2 if Redis has lost entries, or 3 if its
names are hashed with another secret: in both cases it cannot say that a name is new.
*known* is the epoch that the caller has read.  The 17th and all further characters of
the epoch are the fingerprint of the secret.
"""

PUT = """
local sets, log, epoch = KEYS[1], KEYS[2], KEYS[3]
local now, entry = redis.call('TIME')[1], nil
local current = redis.call('GET', epoch)
if current and string.sub(current, 17) ~= ARGV[1] then
    return 3
end
for i = 1, (#ARGV - 1) / 4 do
    local mark, set = KEYS[2 * i + 2], KEYS[2 * i + 3]
    local ends, forgotten = ARGV[4 * i - 2], ARGV[4 * i - 1]
    local stands, packed = ARGV[4 * i], ARGV[4 * i + 1]
    local date = string.match(stands, '%S+$')
    local standing = redis.call('GET', mark) or ''
    local old_ends, old_date = string.match(standing, '^(%S+) (%S+)$')
    if not old_ends or tonumber(old_ends) <= tonumber(now) then
        redis.call('SET', mark, stands)
        redis.call('EXPIREAT', mark, forgotten)
    else
        if tonumber(old_date) > tonumber(date) then
            date = old_date
        end
        if tonumber(old_ends) > tonumber(ends) then
            redis.call('SET', mark, old_ends .. ' ' .. date, 'KEEPTTL')
        else
            redis.call('SET', mark, ends .. ' ' .. date)
            redis.call('EXPIREAT', mark, forgotten)
        end
    end
    local known = redis.call('ZSCORE', sets, set)
    if known and tonumber(known) > now + 1800 and redis.call('EXISTS', set) == 0 then
        redis.call('DEL', epoch)
    end
    redis.call('SADD', set, packed)
    if old_ends == ends and date ~= old_date then
        local key, old_at = string.sub(mark, -12), tonumber(old_date)
        redis.call('SREM', set, struct.pack('>c0dd', key, old_at, tonumber(ends)))
    end
    redis.call('EXPIREAT', set, forgotten)
    redis.call('ZADD', sets, forgotten, set)
    entry = redis.call('XADD', log, '*', 'mark', packed)
end
redis.call('ZREMRANGEBYSCORE', sets, '-inf', now)
local old = redis.call('XREVRANGE', log, (now - 3600) * 1000, '-', 'COUNT', 1)[1]
if old then
    redis.call('XTRIM', log, 'MINID', '~', old[1])
end
return entry
"""
"""Write entries where `add`, workers that begin, and workers that run look for them.

Return the last entry of the log, or 3 if names are hashed with another secret.

Of an entry that stands, the later date and the later end remain.  The set of an hour
keeps the last date alone of an entry that ends when it ended before: a session that is
refreshed often puts its entry often.

The newest entry of the log that is older than an hour is kept: before an hour without
any entry, it was the last, and workers that have read it look whether it is there.

A set that was lost would be made again with one entry, and look whole: then the epoch
is deleted, and all workers begin again.
"""

FORGET_LOST = """
local sets, epoch, lost = KEYS[1], KEYS[2], 0
local now = redis.call('TIME')[1]
for i = 3, #KEYS do
    local set = KEYS[i]
    local known = redis.call('ZSCORE', sets, set)
    if known and tonumber(known) > now + 1800 and redis.call('EXISTS', set) == 0 then
        redis.call('ZREM', sets, set)
        lost = lost + 1
    end
end
if lost > 0 then
    redis.call('DEL', epoch)
end
return lost
"""
"""Drop the sets that are gone before their time, and the epoch if there are any."""
