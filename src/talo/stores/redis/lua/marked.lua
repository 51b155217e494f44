-- Which members are marked now; changes nothing.
--
-- KEYS  1 the marks, a zset: member -> when its mark ends, seconds by this server's clock
-- ARGV  the members to ask for; none: all
-- Returns those that are marked.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
if #ARGV == 0 then
  return redis.call('ZRANGE', KEYS[1], string.format('(%.6f', now), '+inf', 'BYSCORE')
end
local found = {}
for _, member in ipairs(ARGV) do
  local ends = redis.call('ZSCORE', KEYS[1], member)
  if ends and tonumber(ends) > now then
    found[#found + 1] = member
  end
end
return found
