-- What the scripts of the ledger share. This text is put in front of every script that says "uses _ledger.lua".
--
-- Words
--   field    one entry: "<length of queue>:<queue><task id>"
--   value    what is known of it, msgpack: { task, root, sent, since }
--   lease    "<token> <owner>"
--   holder   "<lease>\n<held since>\n<worker>"
--
-- Keys
--   talo:ledger:entries       hash  field -> value
--   talo:ledger:wait:<queue>  zset  field -> since when it may be fetched; what somebody has is not there
--   talo:ledger:queues        set   the queues of entries
--   talo:ledger:holders       hash  field -> holder
--   talo:ledger:leases        hash  lease -> field
--   talo:ledger:held          zset  field -> when it was fetched

local LEDGER = P .. 'talo:ledger:'
local ENTRIES, QUEUES, HOLDERS = LEDGER .. 'entries', LEDGER .. 'queues', LEDGER .. 'holders'
local BY_LEASE, HELD = LEDGER .. 'leases', LEDGER .. 'held'
--: The place of this fact in a value, and milliseconds by which a key may outlive its entries.
local SINCE, SLACK = 4, 3600000

local function wait_of(queue)
  return LEDGER .. 'wait:' .. queue
end

local function queue_of(field)
  local colon = string.find(field, ':', 1, true)
  return string.sub(field, colon + 1, colon + tonumber(string.sub(field, 1, colon - 1)))
end

local function lease_of(holder)
  return string.sub(holder, 1, string.find(holder, '\n', 1, true) - 1)
end

-- The key lasts until that moment, in seconds, at least.
local function last(key, moment)
  local left = math.ceil(1000 * (moment - now))
  if call('PTTL', key) < left then
    call('PEXPIRE', key, string.format('%.0f', left + SLACK))
  end
end

-- Nobody has these any more.
local function let_go(fields)
  local holders = call('HMGET', HOLDERS, unpack(fields))
  local held, leases = {}, {}
  for at, field in ipairs(fields) do
    if holders[at] then
      held[#held + 1] = field
      leases[#leases + 1] = lease_of(holders[at])
    end
  end
  if #held > 0 then
    call('HDEL', HOLDERS, unpack(held))
    call('HDEL', BY_LEASE, unpack(leases))
    call('ZREM', HELD, unpack(held))
  end
end

-- The fields that are held under these leases, each at the place of its lease, and false where there is none.
local function held_under(leases)
  local fields = call('HMGET', BY_LEASE, unpack(leases))
  for at, field in ipairs(fields) do
    local holder = field and call('HGET', HOLDERS, field)
    if not holder or lease_of(holder) ~= leases[at] then
      fields[at] = false
    end
  end
  return fields
end
