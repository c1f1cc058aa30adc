"""What must happen at once inside Redis.

A subject (a user or a session) has three keys: its state (see `packing`), a generation that every writer moves who finds no state, and
what the bridge holds of it. Sent by source each time (redis keeps them compiled), so that a restarted server needs no care.
"""

from __future__ import annotations

GENERATION_TTL_SECONDS = 600  # far longer than any build of a state
# What is derived from Postgres stays out of the append-only file: a restarted server has all of it dropped and counted anew (see
# `repair`), and where every write waits for the disk, as the bridge wants it, shoppers would wait for nothing.
UNLOGGED = """
if redis.set_repl then redis.set_repl(redis.REPL_REPLICA) end
"""

# ARGV generation ttl, most bytes of changes, and as JSON for each subject its state, its generation and its changes. A state keeps its time
# to live; one that would hold too many changes is dropped. SET with all of it, because APPEND would reserve twice the memory.
ADD = (
    UNLOGGED
    + """
for _, subject in ipairs(cjson.decode(ARGV[3])) do
  local state, generation, changes = unpack(subject)
  local held = redis.call('GET', state)
  if held and #held + #changes <= 4 + struct.unpack('<I4', held) + ARGV[2] then
    redis.call('SET', state, held .. changes, 'KEEPTTL')
  else
    redis.call('INCR', generation)
    redis.call('EXPIRE', generation, ARGV[1])
    if held then redis.call('UNLINK', state) end
  end
end
return 1
"""
)

# KEYS revision, mark, then state, generation and bridged entries of each subject; ARGV most bridged entries. Returns the values, bridged
# entries as JSON, separated by commas: a text is read far faster than a list
READ = """
local out = redis.call('MGET', KEYS[1], KEYS[2])
for k = 3, #KEYS, 3 do
  out[k], out[k + 1] = unpack(redis.call('MGET', KEYS[k], KEYS[k + 1]))
  out[k + 2] = table.concat(redis.call('ZRANGE', KEYS[k + 2], -ARGV[1], -1), ',')
end
return out
"""

# KEYS counter; ARGV most items, ttl, and as JSON item -> how much more
COUNT = """
for item, times in pairs(cjson.decode(ARGV[3])) do redis.call('ZINCRBY', KEYS[1], times, item) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[1] - 1)
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
COUNT_UNLOGGED = UNLOGGED + COUNT

# KEYS counter
RAISE_BY_ONE = UNLOGGED + "return redis.call('INCR', KEYS[1])"

# KEYS state, generation, mark; ARGV generation and mark seen before reading, ttl, state. Stores nothing when a writer came between, or a
# server that forgot of one; and a state that is there already was kept up.
STORE = (
    UNLOGGED
    + """
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] or redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'EX', ARGV[3], 'NX')
return 1
"""
)

# KEYS state; ARGV the state as it was read, and packed anew. What was appended meanwhile stays.
REPACK = (
    UNLOGGED
    + """
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2] .. string.sub(held, #ARGV[1] + 1), 'KEEPTTL')
return 1
"""
)

# KEYS state, generation; ARGV generation ttl
FORGET = """
redis.call('INCR', KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[1])
return redis.call('UNLINK', KEYS[1])
"""

# KEYS revision; ARGV value
RAISE = """
local now = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > now then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""

# KEYS key; ARGV value. Deletes what nobody changed since it was read.
DELETE_IF = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
