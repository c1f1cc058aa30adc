"""What must happen at once inside Redis.

A subject (a user or a session) has six keys: `m` is there when its state is (it holds the profile), `h` its history, `p` its
purchases and `d` its dislikes (sorted sets by unix seconds), `s` what it was shown (see `seen`), `g` a generation that every writer
moves. Sent by source each time (redis keeps them compiled), so that a restarted server needs no care.
"""

from __future__ import annotations

GENERATION_TTL_SECONDS = 600  # far longer than any build of a state
# What is derived from Postgres stays out of the append-only file: a restarted server has all of it dropped and counted anew (see
# `repair`), and where every write waits for the disk, as the bridge wants it, shoppers would wait for nothing.
UNLOGGED = """
if redis.set_repl then redis.set_repl(redis.REPL_REPLICA) end
"""

# ARGV generation ttl, max history, max purchases, max dislikes, and as JSON for each subject its keys m h p g s d and its events: (at,
# member, item, what) of each; what: purchase, dislike, like, other (an act all the same) or "" (none). A set that is there already
# has its time to live, from STORE or from here.
APPLY = (
    UNLOGGED
    + """
local function trim(key, most, ttl)
  redis.call('ZREMRANGEBYRANK', key, 0, -most - 1)
  if redis.call('TTL', key) == -1 then redis.call('EXPIRE', key, ttl) end
end
local function is_over(history, when, item)  -- a later liking may have come before a dislike
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', history, when, '+inf')) do
    local entry = cjson.decode(member)
    if entry[2] == item and (entry[3] == 'like' or entry[3] == 'rating') then return true end
  end
  return false
end
for _, subject in ipairs(cjson.decode(ARGV[5])) do
  local mark, history, purchased, generation, seen, disliked = unpack(subject[1])
  redis.call('INCR', generation)
  redis.call('EXPIRE', generation, ARGV[1])
  local ttl = redis.call('TTL', mark) + 600
  if ttl > 598 then
    local bought, judged = false, false
    for _, event in ipairs(subject[2]) do
      local when, member, item, what = unpack(event)
      redis.call('ZADD', history, when, member)
      if what == 'purchase' then
        redis.call('ZADD', purchased, 'GT', when, item)
        bought = true
      end
      if what == 'dislike' then
        if not is_over(history, when, item) then redis.call('ZADD', disliked, 'GT', when, item) end
        judged = true
      elseif what ~= '' then
        redis.call('ZREM', seen, item)
        local since = what == 'like' and redis.call('ZSCORE', disliked, item)
        if since and tonumber(since) <= when then redis.call('ZREM', disliked, item) end
      end
    end
    trim(history, ARGV[2], ttl)
    if bought then trim(purchased, ARGV[3], ttl) end
    if judged then trim(disliked, ARGV[4], ttl) end
  end
end
return 1
"""
)

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
SHOW = (
    UNLOGGED
    + """
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
)

# KEYS counter; ARGV most items, ttl, and as JSON item -> how much more
COUNT = """
for item, times in pairs(cjson.decode(ARGV[3])) do redis.call('ZINCRBY', KEYS[1], times, item) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[1] - 1)
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
COUNT_UNLOGGED = UNLOGGED + COUNT

# KEYS counter
RAISE_BY_ONE = UNLOGGED + "return redis.call('INCR', KEYS[1])"

# KEYS m h p g s d, mark; ARGV generation and mark seen before reading, state ttl, profile, then for each of h p s d the number of its
# members and (score, member) of each. Stores nothing when a writer came between, or a server that forgot of one.
STORE = (
    UNLOGGED
    + """
if (redis.call('GET', KEYS[4]) or '') ~= ARGV[1] or redis.call('GET', KEYS[7]) ~= ARGV[2] then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[5], KEYS[6])
local at = 5
for _, key in ipairs({KEYS[2], KEYS[3], KEYS[5], KEYS[6]}) do
  local last = at + 2 * ARGV[at]
  for i = at + 1, last, 2 do redis.call('ZADD', key, ARGV[i], ARGV[i + 1]) end
  redis.call('EXPIRE', key, ARGV[3] + 600)
  at = last + 1
end
redis.call('SET', KEYS[1], ARGV[4], 'EX', ARGV[3])
return 1
"""
)

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
