"""What must happen at once inside Redis.

A subject (a user or a session) has four keys: `m` is there when its state is (it holds the profile), `h` its history and `p`
its purchases (sorted sets by unix seconds), `g` a generation that every writer moves. Sent by source each time (redis keeps
them compiled), so that a restarted server needs no care.
"""

from __future__ import annotations

GENERATION_TTL_SECONDS = 600  # far longer than any build of a state

# KEYS m h p g of each subject; ARGV generation ttl, max history, max purchases, then for each subject the number of its
# events and (at, member, item if a purchase or "") of each
APPLY = """
local at = 4
for k = 1, #KEYS, 4 do
  local mark, history, purchased, generation = KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  redis.call('INCR', generation)
  redis.call('EXPIRE', generation, ARGV[1])
  local last = at + 3 * ARGV[at]
  if redis.call('EXISTS', mark) == 1 then
    local ttl = redis.call('TTL', mark) + 600
    for i = at + 1, last, 3 do
      redis.call('ZADD', history, ARGV[i], ARGV[i + 1])
      if ARGV[i + 2] ~= '' then redis.call('ZADD', purchased, 'GT', ARGV[i], ARGV[i + 2]) end
    end
    redis.call('ZREMRANGEBYRANK', history, 0, -ARGV[2] - 1)
    redis.call('ZREMRANGEBYRANK', purchased, 0, -ARGV[3] - 1)
    redis.call('EXPIRE', history, ttl)
    redis.call('EXPIRE', purchased, ttl)
  end
  at = last + 1
end
return 1
"""

# KEYS m h p g; ARGV generation seen before reading, state ttl, profile, number of history entries, then (at, member)…,
# then (at, item)… of purchases. Stores nothing when a writer came between.
STORE = """
if (redis.call('GET', KEYS[4]) or '') ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3])
local last = 4 + 2 * ARGV[4]
for i = 5, last, 2 do redis.call('ZADD', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV, 2 do redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[2], ARGV[2] + 600)
redis.call('EXPIRE', KEYS[3], ARGV[2] + 600)
redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[2])
return 1
"""

# KEYS m h p g; ARGV generation ttl
FORGET = """
redis.call('INCR', KEYS[4])
redis.call('EXPIRE', KEYS[4], ARGV[1])
return redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
"""

# KEYS revision; ARGV value
RAISE = """
local now = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > now then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""
