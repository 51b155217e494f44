-- The plans of a space that changed after a version; changes nothing. uses _messages.lua, _plans.lua
--
-- ARGV  1 key prefix, 2 space, 3 version ('0': everything)
-- Returns now, the latest version, '1' if everything was told, a list of name, version, plan, and a list of removed
-- names.

local since, complete = tonumber(ARGV[3]), '0'
if since == 0 or since < tonumber(call('GET', FORGOTTEN) or '0') then
  since, complete = 0, '1'
end
local latest = since
local from = string.format('(%d', since)
local changed, removed = {}, {}
local names = call('ZRANGE', VERSIONS, from, '+inf', 'BYSCORE', 'WITHSCORES')
for at = 1, #names, 2 do
  changed[#changed + 1] = names[at]
  changed[#changed + 1] = names[at + 1]
  changed[#changed + 1] = call('HGET', PLANS, names[at])
  latest = math.max(latest, tonumber(names[at + 1]))
end
local gone = call('ZRANGE', REMOVED, from, '+inf', 'BYSCORE', 'WITHSCORES')
for at = 1, #gone, 2 do
  removed[#removed + 1] = gone[at]
  latest = math.max(latest, tonumber(gone[at + 1]))
end
return { seconds(now), string.format('%d', latest), complete, changed, removed }
