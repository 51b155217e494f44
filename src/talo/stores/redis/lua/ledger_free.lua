-- What is held under these leases waits again. uses _messages.lua, _ledger.lua
--
-- ARGV  1 key prefix, 2 seconds for which an entry is kept, then per lease: lease, since when it may be fetched ('' as
--       before)
-- Returns 1.

local leases = {}
for at = 3, #ARGV, 2 do
  leases[#leases + 1] = ARGV[at]
end
for at, field in ipairs(held_under(leases)) do
  local value = field and call('HGET', ENTRIES, field)
  if value then
    local since, key = ARGV[2 + 2 * at], wait_of(queue_of(field))
    if since == '' then
      since = cmsgpack.unpack(value)[SINCE]
    else
      local known = cmsgpack.unpack(value)
      known[SINCE] = tonumber(since)
      call('HSET', ENTRIES, field, cmsgpack.pack(known))
    end
    let_go({ field })
    call('ZADD', key, string.format('%.6f', since), field)
    last(key, math.max(now, since) + ARGV[2])
    last(ENTRIES, math.max(now, since) + ARGV[2])
  end
end
return 1
