-- Delete messages: ready ones at once, delayed ones as far as one step of a scan goes. uses _messages.lua
--
-- ARGV  1 key prefix, 2 cursor of the scan ('0' to begin), 3 how many to look at, then the lists
-- Returns { how many were deleted, next cursor ('0' at the end) }.

local deleted, wanted, waiting = 0, {}, 0
for at = 4, #ARGV do
  local list = ARGV[at]
  deleted = deleted + call('LLEN', P .. list)
  call('UNLINK', P .. list)
  wanted[list] = true
  waiting = waiting + tonumber(call('HGET', DELAYED_COUNT, list) or 0)
end
if waiting == 0 then
  return { deleted, '0' }
end
local scan = call('ZSCAN', DELAYED, ARGV[2], 'COUNT', ARGV[3])
for at = 1, #scan[2], 2 do
  local member = scan[2][at]
  if wanted[string.sub(member, 18)] and undelay(member) then
    deleted = deleted + 1
  end
end
return { deleted, scan[1] }
