"""What must happen at once inside Redis.

A subject (a user or a session) has six keys: `m` is there when its state is (it holds the profile), `h` its history, `p` its
purchases and `d` its dislikes (sorted sets by unix seconds), `s` what it was shown (see `seen`), `g` a generation that every writer
moves. Sent by source each time (redis keeps them compiled), so that a restarted server needs no care.
"""

from __future__ import annotations

GENERATION_TTL_SECONDS = 600  # far longer than any build of a state

# KEYS m h p g s d of each subject; ARGV generation ttl, max history, max purchases, max dislikes, then for each subject the number
# of its events and (at, member, item, what) of each; what: purchase, dislike, like, other (an act all the same) or "" (none)
APPLY = """
local at = 5
for k = 1, #KEYS, 6 do
  local mark, history, purchased, generation = KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3]
  local seen, disliked = KEYS[k + 4], KEYS[k + 5]
  redis.call('INCR', generation)
  redis.call('EXPIRE', generation, ARGV[1])
  local last = at + 4 * ARGV[at]
  if redis.call('EXISTS', mark) == 1 then
    local ttl = redis.call('TTL', mark) + 600
    for i = at + 1, last, 4 do
      local when, item, what = ARGV[i], ARGV[i + 2], ARGV[i + 3]
      redis.call('ZADD', history, when, ARGV[i + 1])
      if what == 'purchase' then redis.call('ZADD', purchased, 'GT', when, item) end
      if what == 'dislike' then
        local is_over = false  -- a later liking may have come before
        for _, member in ipairs(redis.call('ZRANGEBYSCORE', history, when, '+inf')) do
          local entry = cjson.decode(member)
          if entry[2] == item and (entry[3] == 'like' or entry[3] == 'rating') then is_over = true end
        end
        if not is_over then redis.call('ZADD', disliked, 'GT', when, item) end
      elseif what ~= '' then
        redis.call('ZREM', seen, item)
        local since = redis.call('ZSCORE', disliked, item)
        if what == 'like' and since and tonumber(since) <= tonumber(when) then redis.call('ZREM', disliked, item) end
      end
    end
    redis.call('ZREMRANGEBYRANK', history, 0, -ARGV[2] - 1)
    redis.call('ZREMRANGEBYRANK', purchased, 0, -ARGV[3] - 1)
    redis.call('ZREMRANGEBYRANK', disliked, 0, -ARGV[4] - 1)
    for _, key in ipairs({history, purchased, disliked}) do redis.call('EXPIRE', key, ttl) end
  end
  at = last + 1
end
return 1
"""

# KEYS revision, mark, then m h p g s d and the bridged entries of each subject; ARGV most bridged entries. Returns both values and, for each
# subject, profile, generation, history and bridged entries (JSON, separated by commas), purchases, seen and dislikes (item, score …,
# separated by NUL, which no id holds): a text is read far faster than a list
READ = """
local function entries(key, from) return table.concat(redis.call('ZRANGE', key, from, -1), ',') end
local function figures(key) return table.concat(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'), '\\0') end
local out = {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}
for k = 3, #KEYS, 7 do
  local profile, generation, bridged = redis.call('GET', KEYS[k]), redis.call('GET', KEYS[k + 3]), entries(KEYS[k + 6], -ARGV[1])
  if profile then
    out[#out + 1] = {profile, generation, entries(KEYS[k + 1], 0), bridged, figures(KEYS[k + 2]), figures(KEYS[k + 4]), figures(KEYS[k + 5])}
  else
    out[#out + 1] = {false, generation, '', bridged, '', '', ''}
  end
end
return out
"""

# KEYS m g s of each subject; ARGV generation ttl, max seen, and as JSON for each subject its showings: (at, items) of each, at in
# half-lives since 1970
SHOW = """
local showings_of = cjson.decode(ARGV[3])
for k = 1, #KEYS, 3 do
  local mark, generation, seen = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  redis.call('INCR', generation)
  redis.call('EXPIRE', generation, ARGV[1])
  if redis.call('EXISTS', mark) == 1 then
    for _, showing in ipairs(showings_of[(k + 2) / 3]) do
      local at, items = showing[1], showing[2]
      local held, scored = redis.call('ZMSCORE', seen, unpack(items)), {}
      for i, item in ipairs(items) do
        local new, old = at, tonumber(held[i] or '')
        if old then new = math.max(old, at) + math.log(1 + 2 ^ -math.abs(old - at)) / math.log(2) end
        scored[2 * i - 1], scored[2 * i] = new, item
      end
      redis.call('ZADD', seen, unpack(scored))
    end
    redis.call('ZREMRANGEBYRANK', seen, 0, -ARGV[2] - 1)
    redis.call('EXPIRE', seen, redis.call('TTL', mark) + 600)
  end
end
return 1
"""

# KEYS counter; ARGV most items, ttl, and as JSON item -> how often more
COUNT = """
for item, times in pairs(cjson.decode(ARGV[3])) do redis.call('ZINCRBY', KEYS[1], times, item) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[1] - 1)
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""

# KEYS m h p g s d; ARGV generation seen before reading, state ttl, profile, then for each of h p s d the number of its members and
# (score, member) of each. Stores nothing when a writer came between.
STORE = """
if (redis.call('GET', KEYS[4]) or '') ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[5], KEYS[6])
local at = 4
for _, key in ipairs({KEYS[2], KEYS[3], KEYS[5], KEYS[6]}) do
  local last = at + 2 * ARGV[at]
  for i = at + 1, last, 2 do redis.call('ZADD', key, ARGV[i], ARGV[i + 1]) end
  redis.call('EXPIRE', key, ARGV[2] + 600)
  at = last + 1
end
redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[2])
return 1
"""

# KEYS m h p g s d; ARGV generation ttl
FORGET = """
redis.call('INCR', KEYS[4])
redis.call('EXPIRE', KEYS[4], ARGV[1])
return redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[6])
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
