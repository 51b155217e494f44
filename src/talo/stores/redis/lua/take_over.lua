-- Move leases from one owner to another, the oldest first; close the former when it holds none. uses _messages.lua
--
-- ARGV  1 key prefix, 2 former owner, 3 new owner, 4 limit, 5 '1': only if the lease of the former is over
-- Returns { former token, new token, value, and so on }. Error LEASELOST when the new owner is not open.

local former, new, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
if not call('ZSCORE', OWNERS, new) then
  return redis.error_reply('LEASELOST ' .. new)
end
local ends = call('ZSCORE', OWNERS, former)
if former == new or (ARGV[5] == '1' and not (ends and tonumber(ends) <= now)) then
  return {}
end

local from, to = leases_of(former), leases_of(new)
local tokens = call('HKEYS', from)
table.sort(tokens, function(one, other) return tonumber(one) < tonumber(other) end)
local moved = {}
for i = 1, math.min(limit, #tokens) do
  local token = string.format('%d', call('INCR', TOKEN))
  local value = call('HGET', from, tokens[i])
  call('HSET', to, token, value)
  call('HDEL', from, tokens[i])
  moved[#moved + 1] = tokens[i]
  moved[#moved + 1] = token
  moved[#moved + 1] = value
end
if #moved > 0 then
  holds(new)
end
if #tokens <= limit then
  call('SREM', HOLDING, former)
  call('ZREM', OWNERS, former)
  call('HDEL', INFO, former)
end
return moved
