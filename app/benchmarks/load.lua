-- Sends the requests of a file in turn, checks every reply, and says what came of it as one line of JSON.
-- Arguments: the file (a line each: method, path, body, separated by tabs), the wanted status, requests a second (0: as many as
-- possible), a text whose lack is only counted ("" for none), then the texts that every body must hold. NEW-ID in a path becomes
-- another text in every request.
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long tv_sec; long tv_nsec; } duoscene_timespec;
  int clock_gettime(int clock, duoscene_timespec *now);
]]
local stamp = ffi.new("duoscene_timespec")
local threads = {}

local function now()
  ffi.C.clock_gettime(1, stamp) -- CLOCK_MONOTONIC
  return tonumber(stamp.tv_sec) + tonumber(stamp.tv_nsec) / 1e9
end

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  requests, marks, place, bad, lacking, example = {}, {}, 0, 0, 0, ""
  run, num_new, has_new = string.format("%.0f", now() * 1e9), 0, false
  for line in io.lines(args[1]) do
    local method, path, body = line:match("^([^\t]*)\t([^\t]*)\t(.*)$")
    has_new = has_new or line:find("NEW-ID", 1, true) ~= nil
    table.insert(requests, wrk.format(method, path, nil, body ~= "" and body or nil))
  end
  status_wanted = tonumber(args[2])
  local rate = tonumber(args[3])
  wished = args[4]
  for i = 5, #args do table.insert(marks, args[i]) end
  if rate > 0 then
    local due = now()
    delay = function() -- milliseconds until the next request is due: a schedule of all connections together
      local at = now()
      due = math.max(due + 1 / rate, at - 1) -- never more than a second of arrears
      return math.max(0, math.floor((due - at) * 1000 + 0.5))
    end
  end
end

function request()
  place = place % #requests + 1
  if not has_new then return requests[place] end
  num_new = num_new + 1
  return (requests[place]:gsub("NEW%-ID", run .. "-" .. num_new))
end

function response(status, headers, body)
  local good = status == status_wanted
  for i = 1, #marks do
    good = good and body:find(marks[i], 1, true) ~= nil
  end
  if good and wished ~= "" and not body:find(wished, 1, true) then
    lacking = lacking + 1
  end
  if not good then
    bad = bad + 1
    if example == "" then example = status .. " " .. body:sub(1, 300) end
  end
end

function done(summary, latency, requests)
  local bad, lacking, example = 0, 0, ""
  for _, thread in ipairs(threads) do
    bad, lacking = bad + thread:get("bad"), lacking + thread:get("lacking")
    if example == "" then example = thread:get("example") end
  end
  local errors = summary.errors
  io.write(string.format(
    '\nresult {"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"bad":%d,"lacking":%d,"unanswered":%d,"example":"%s"}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    bad, lacking, errors.connect + errors.read + errors.write + errors.timeout, example:gsub('[%c"\\]', " ")))
end
