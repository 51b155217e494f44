-- Numbers of lists; changes nothing. uses _messages.lua
--
-- ARGV  1 key prefix, 2 how much that is due and was not made ready is looked at, then the lists
-- Returns { ready, delayed, and so on }, in the order of the lists, then 1 if anybody may hold something, and { list, due
-- time } of each message that is due: it is one of the delayed still, until a turn comes.

local numbers = {}
for at = 3, #ARGV do
  numbers[#numbers + 1] = call('LLEN', P .. ARGV[at])
  numbers[#numbers + 1] = tonumber(call('HGET', DELAYED_COUNT, ARGV[at]) or 0)
end
numbers[#numbers + 1] = call('EXISTS', HOLDING)
local due = call('ZRANGE', DELAYED, '-inf', seconds(now), 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
for at = 1, #due, 2 do
  due[at] = string.sub(due[at], 18)
end
numbers[#numbers + 1] = due
return numbers
