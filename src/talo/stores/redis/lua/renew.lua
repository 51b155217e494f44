-- Give owners a new end of lease, those that are open. uses _messages.lua
--
-- ARGV  1 key prefix, 2 lease in seconds, then the owners
-- Returns the owners that are not open.

local ends = seconds(now + tonumber(ARGV[2]))
local gone = {}
for at = 3, #ARGV do
  if call('ZSCORE', OWNERS, ARGV[at]) then
    call('ZADD', OWNERS, ends, ARGV[at])
    if call('EXISTS', leases_of(ARGV[at])) == 0 then
      call('SREM', HOLDING, ARGV[at])
    end
  else
    gone[#gone + 1] = ARGV[at]
  end
end
let_fade(ARGV[2])
return gone
