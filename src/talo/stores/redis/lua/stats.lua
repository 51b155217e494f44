-- Numbers of lists; changes nothing. uses _messages.lua
--
-- ARGV  1 key prefix, then the lists
-- Returns { ready, delayed, and so on }, in the order of the lists, and last 1 if anybody may hold something.

local numbers = {}
for at = 2, #ARGV do
  numbers[#numbers + 1] = call('LLEN', P .. ARGV[at])
  numbers[#numbers + 1] = tonumber(call('HGET', DELAYED_COUNT, ARGV[at]) or 0)
end
numbers[#numbers + 1] = call('EXISTS', HOLDING)
return numbers
