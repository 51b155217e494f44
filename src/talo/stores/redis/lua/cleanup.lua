-- Delete dead letters that have ended. uses _messages.lua, _dead.lua
--
-- ARGV  1 key prefix, 2 how many at most
-- Returns how many.

local ids = call('ZRANGE', ENDS, '-inf', seconds(now), 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  delete(id)
end
return #ids
