-- Write down what waits. uses _messages.lua, _ledger.lua
--
-- ARGV  1 key prefix, 2 seconds for which an entry is kept, then per entry: queue, field, value, since
-- Returns 1.

local fields, values, by_queue, latest = {}, {}, {}, now
for at = 3, #ARGV, 4 do
  local queue, field, since = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  fields[#fields + 1] = field
  values[#values + 1] = field
  values[#values + 1] = ARGV[at + 2]
  local scores = by_queue[queue] or {}
  by_queue[queue] = scores
  scores[#scores + 1] = since
  scores[#scores + 1] = field
  latest = math.max(latest, tonumber(since))
end
let_go(fields)
call('HSET', ENTRIES, unpack(values))
for queue, scores in pairs(by_queue) do
  call('SADD', QUEUES, queue)
  call('ZADD', wait_of(queue), unpack(scores))
  last(wait_of(queue), latest + ARGV[2])
end
last(ENTRIES, latest + ARGV[2])
last(QUEUES, latest + ARGV[2])
return 1
