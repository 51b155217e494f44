-- Count and keep runs outside of a settlement. uses _messages.lua, _history.lua
--
-- ARGV  1 key prefix, 2 how many runs a chunk takes, then counters and runs as turn.lua takes them
-- Returns 1. A run that is there already (same id, attempt and end) is not kept twice.

--: The places of these facts in a run, see RunRecord.
local ENDED, ID, ATTEMPT = 4, 8, 9

local function is_there(log, bucket, item)
  local run = cmsgpack.unpack(item)
  -- A repetition comes soon: the last two chunks are enough.
  for _, number in ipairs(call('ZRANGE', HISTORY .. log, -2, -1)) do
    local chunk = chunk_of(log, number)
    local list = call('HGET', chunk .. ':ids', bucket) or ''
    for at = 1, #list, 2 do
      local offset = struct.unpack('>H', list, at)
      local known = call('HGET', chunk .. ':items', offset)
      known = known and cmsgpack.unpack(known)
      if known and known[ID] == run[ID] and known[ATTEMPT] == run[ATTEMPT] and known[ENDED] == run[ENDED] then
        return true
      end
    end
  end
  return false
end

local at = count_all(2, {})
for kept = at + 1, #ARGV, 13 do
  if not is_there(ARGV[kept + 1], ARGV[kept + 5], ARGV[kept + 4]) then
    keep_run(kept, tonumber(ARGV[2]))
  end
end
return 1
