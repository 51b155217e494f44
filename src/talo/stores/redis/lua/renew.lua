-- Give owners a new end of lease, those that are open. uses _messages.lua
--
-- ARGV  1 key prefix, 2 lease in seconds, then the owners
-- Returns the seconds until the earliest end of all owners ('' without any), then the owners that are not open.

local ends = seconds(now + tonumber(ARGV[2]))
local answer = { '' }
for at = 3, #ARGV do
  if call('ZSCORE', OWNERS, ARGV[at]) then
    call('ZADD', OWNERS, ends, ARGV[at])
    if call('EXISTS', leases_of(ARGV[at])) == 0 then
      call('SREM', HOLDING, ARGV[at])
    end
  else
    answer[#answer + 1] = ARGV[at]
  end
end
let_fade(ARGV[2])
local first = call('ZRANGE', OWNERS, 0, 0, 'WITHSCORES')
if first[2] then
  answer[1] = seconds(tonumber(first[2]) - now)
end
return answer
