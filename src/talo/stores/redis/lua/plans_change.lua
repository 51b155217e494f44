-- Change plans that are still at their version; each with its runs and messages, or not at all. uses _messages.lua,
-- _plans.lua
--
-- ARGV  1 key prefix, 2 space, then per change: name, version ('0': must not exist), plan ('' removes it), not before
-- (seconds by the epoch, '' at any time), number of runs, the runs, number of messages, per message: list, raw, due
-- ('' at once)
-- Returns per change its new version, 0 if it was refused.

local function remove(name, version)
  call('HDEL', PLANS, name)
  call('ZREM', VERSIONS, name)
  call('DEL', RUNS .. name)
  call('ZADD', REMOVED, version, name)
  local old = call('ZRANGE', REMOVED, 0, -1 - KEPT_REMOVALS, 'WITHSCORES')
  if #old > 0 then
    call('SET', FORGOTTEN, old[#old])
    call('ZREMRANGEBYRANK', REMOVED, 0, -1 - KEPT_REMOVALS)
  end
end

local function put(name, version, plan)
  call('HSET', PLANS, name, plan)
  call('ZADD', VERSIONS, version, name)
  call('ZREM', REMOVED, name)
end

local versions = {}
local at = 3
while at <= #ARGV do
  local name, expected, plan, not_before = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local runs = tonumber(ARGV[at + 4])
  local messages = tonumber(ARGV[at + 5 + runs])
  local first_run, first_message = at + 5, at + 6 + runs
  at = first_message + 3 * messages
  local early = not_before ~= '' and tonumber(not_before) > now
  local there = tonumber(call('ZSCORE', VERSIONS, name) or '0')
  if early or there ~= expected or (plan == '' and expected == 0) then
    versions[#versions + 1] = 0
  else
    local version = call('INCR', TOKEN)
    versions[#versions + 1] = version
    if plan == '' then
      remove(name, version)
    else
      put(name, version, plan)
      for run = first_run, first_run + runs - 1 do
        call('LPUSH', RUNS .. name, ARGV[run])
      end
      if runs > 0 then
        call('LTRIM', RUNS .. name, 0, KEPT_RUNS - 1)
      end
    end
    for message = first_message, at - 1, 3 do
      send(ARGV[message], ARGV[message + 1], ARGV[message + 2])
    end
  end
end
return versions
