-- Strike out what has ended, and note who has what. uses _messages.lua, _ledger.lua
--
-- ARGV  1 key prefix, 2 seconds for which an entry is kept, 3 how many leases have ended, then these; then per delivery:
--       queue, field, value, lease, since when it is held, worker
-- Returns 1.

local leases, fields, gone = {}, {}, {}
local first = 4 + tonumber(ARGV[3])
for at = 4, first - 1 do
  leases[#leases + 1] = ARGV[at]
end
if #leases > 0 then
  for _, field in ipairs(held_under(leases)) do
    if field then
      gone[#gone + 1] = field
    end
  end
end
if #gone > 0 then
  let_go(gone)
  call('HDEL', ENTRIES, unpack(gone))
end
if first > #ARGV then
  return 1
end

local holders, by_lease, held, by_queue = {}, {}, {}, {}
for at = first, #ARGV, 6 do
  local queue, field, lease, since = ARGV[at], ARGV[at + 1], ARGV[at + 3], ARGV[at + 4]
  fields[#fields + 1] = field
  for _, pair in ipairs({
    { holders, field, lease .. '\n' .. since .. '\n' .. ARGV[at + 5] },
    { by_lease, lease, field },
    { held, since, field },
  }) do
    pair[1][#pair[1] + 1] = pair[2]
    pair[1][#pair[1] + 1] = pair[3]
  end
  by_queue[queue] = by_queue[queue] or {}
  table.insert(by_queue[queue], field)
end
let_go(fields)
local known = call('HMGET', ENTRIES, unpack(fields))
for at, field in ipairs(fields) do
  if not known[at] then
    call('HSET', ENTRIES, field, ARGV[first + (at - 1) * 6 + 2])
  end
end
for queue, members in pairs(by_queue) do
  call('SADD', QUEUES, queue)
  call('ZREM', wait_of(queue), unpack(members))
end
call('HSET', HOLDERS, unpack(holders))
call('HSET', BY_LEASE, unpack(by_lease))
call('ZADD', HELD, unpack(held))
for _, key in ipairs({ ENTRIES, QUEUES, HOLDERS, BY_LEASE, HELD }) do
  last(key, now + ARGV[2])
end
return 1
