-- Settle what is finished, make ready what is due, lease what is next: one step. uses _messages.lua, _results.lua, _groups.lua,
-- _history.lua
--
-- ARGV
--   1 key prefix          2 owner             3 '1': the owner must be open, else nothing is done
--   4 limit of messages to lease (0: only settle)                5 limit of delayed messages to make ready
--   6 number of plain settlements                                7 number of rich settlements
--   then the tokens of the plain settlements: DONE with nothing attached, leased to the owner,
--   then each rich settlement:
--     owner ('' for the owner above), token, verdict (0 DONE, 1 AGAIN, 2 DEAD), number of results, number of messages
--       to send, number of parts (0 or 1), group or step that it closes ('' none)
--     per part:    group, member, index, payload, how many more members it adds, and for a chord that
--                  Celery sent (then group is its key): list, raw, milliseconds to keep; else three times ''
--     per result:  key, '1' if SUCCESS, milliseconds to keep ('' for ever), payload
--     per message: list, raw, due ('' at once)
--     AGAIN: delay in seconds, charge '0' or '1', suspect '0' or '1'
--     DEAD:  charge '0' or '1', death (opaque), task id or '', seconds to keep ('' for ever)
--   then, if there is anything to count: how many runs a chunk of history takes, the sums (see count_all in _history.lua), and per run to be kept: the position of its settlement, and what keep_run takes
--
-- KEYS
--   1 talo:delayed        2.. the lists, with the prefix, in the order in which they are to be emptied; none when only
-- settling; where the prefix has a hash tag, talo:queues and talo:slot behind them (docs/internals/redis.md)
--   They are declared because Redis tells a client of changes of declared keys only.
--
-- Keys beside those of _messages.lua, _results.lua and _groups.lua: those of the dead letters, see _dead.lua.
--
-- Returns { now, next due or '', '1' if the client will hear of changes, first token, refused, taken, raws }
--   refused: positions (from 1, plain ones first) of the settlements that found no lease; nothing of them was applied
--   taken:   position of a list, how many of it, and so on; raws are in that order, their tokens count up from the
-- first Error LEASELOST when the owner is not open.
--
-- A message that goes back to the head is put there before the fetch, so the same turn may lease it again.

local owner, limit = ARGV[2], tonumber(ARGV[4])
if ARGV[3] == '1' and not call('ZSCORE', OWNERS, owner) then
  return redis.error_reply('LEASELOST ' .. owner)
end

local leases = leases_of(owner)
local at = 7
local refused = {}
-- Positions of which nothing but the end of the lease was applied, if that.
local nothing = {}

-- plain settlements
local plain = tonumber(ARGV[6])
for i = 1, plain do
  if call('HDEL', leases, ARGV[at + i]) == 0 then
    refused[#refused + 1] = i
  end
end
at = at + plain

-- rich settlements
local function bury(list, raw, charge, death, task_id, keep)
  local deliveries, _, bare = facts(raw)
  if charge == '1' then
    deliveries = deliveries + 1
  end
  local id = string.format('%016d', call('INCR', TOKEN))
  local died = seconds(now)
  local ends = keep ~= '' and seconds(now + tonumber(keep)) or ''
  local head = died .. ' ' .. string.format('%d', deliveries) .. ' ' .. ends .. ' ' .. #task_id .. ' ' .. #death .. ' ' .. #list .. '\n'
  call('HSET', P .. 'talo:dead:items', id, head .. task_id .. death .. list .. bare)
  call('ZADD', P .. 'talo:dead', died, id)
  if ends ~= '' then
    call('ZADD', P .. 'talo:dead:ends', ends, id)
  end
  if task_id ~= '' then
    local others = call('HGET', P .. 'talo:dead:tasks', task_id)
    call('HSET', P .. 'talo:dead:tasks', task_id, others and (others .. ' ' .. id) or id)
  end
end

local function again(list, raw, wait, charge, suspect)
  if charge == '1' or suspect == '1' then
    local deliveries, suspected, bare = facts(raw)
    raw = with_facts(bare, deliveries + tonumber(charge), suspected or suspect == '1')
  end
  if tonumber(wait) > 0 then
    delay(list, raw, seconds(now + tonumber(wait)))
  else
    call('RPUSH', P .. list, raw)
  end
end

-- To the head goes what was fetched first; so those that go back are put there from the latest to the first.
local back = {}

for i = 1, tonumber(ARGV[7]) do
  local held, token, verdict = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local results, sends = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local part, closes = tonumber(ARGV[at + 6]), ARGV[at + 7]
  local member = at + 7
  at = member + 8 * part
  local key = held == '' and leases or leases_of(held)
  local value = verdict ~= '0' and call('HGET', key, token)
  local found = call('HDEL', key, token) == 1
  if found and closes ~= '' and not close(closes) then
    -- The continuation of a group, or the step of a chain, was there twice, and the other one has run: this one was
    -- nothing.
    at = at + 4 * results + 3 * sends
    found = false
    nothing[#nothing + 1] = plain + i
  elseif found then
    if part == 1 then
      local list, raw = add_part(ARGV[member + 1], ARGV[member + 2], ARGV[member + 3], ARGV[member + 4], ARGV[member + 5], false,
        ARGV[member + 6], ARGV[member + 7], ARGV[member + 8])
      if list then
        send(list, raw, '')
      end
    end
    for r = at, at + 4 * (results - 1), 4 do
      store(ARGV[r + 1], ARGV[r + 2], ARGV[r + 3], ARGV[r + 4])
    end
    at = at + 4 * results
    for s = at, at + 3 * (sends - 1), 3 do
      send(ARGV[s + 1], ARGV[s + 2], ARGV[s + 3])
    end
    at = at + 3 * sends
  else
    refused[#refused + 1] = plain + i
    at = at + 4 * results + 3 * sends
  end
  if verdict == '1' then
    if found then
      back[#back + 1] = { tonumber(token), value, at }
    end
    at = at + 3
  elseif verdict == '2' then
    if found then
      local list, raw = opened(value)
      bury(list, raw, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
    end
    at = at + 4
  end
end

if #back > 0 then
  table.sort(back, function(one, other) return one[1] > other[1] end)
  for _, item in ipairs(back) do
    local list, raw = opened(item[2])
    again(list, raw, ARGV[item[3] + 1], ARGV[item[3] + 2], ARGV[item[3] + 3])
  end
end

-- counters and history
if #ARGV > at then
  for _, position in ipairs(refused) do
    nothing[#nothing + 1] = position
  end
  local unkept = {}
  for _, position in ipairs(nothing) do
    unkept[position] = true
  end
  local size = tonumber(ARGV[at + 1])
  for kept = count_all(at + 1, nothing) + 1, #ARGV, 13 do
    if not unkept[tonumber(ARGV[kept])] then
      keep_run(kept, size)
    end
  end
end

if limit == 0 then
  return { seconds(now), '', '0', 0, refused, {}, {} }
end

-- due messages become ready
local first = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
if first[2] and tonumber(first[2]) <= now then
  local members = call('ZRANGE', DELAYED, '-inf', seconds(now), 'BYSCORE', 'LIMIT', 0, ARGV[5])
  local counts = {}
  for _, member in ipairs(members) do
    local list = string.sub(member, 18)
    local raw = forget_delayed(member)
    if raw then
      call('LPUSH', P .. list, raw)
    end
    counts[list] = (counts[list] or 0) + 1
  end
  call('ZREMRANGEBYRANK', DELAYED, 0, #members - 1)
  for list, count in pairs(counts) do
    if call('HINCRBY', DELAYED_COUNT, list, -count) <= 0 then
      call('HDEL', DELAYED_COUNT, list)
    end
  end
end

-- lease what is next
local lists = KEYS[#KEYS] == P .. 'talo:slot' and #KEYS - 2 or #KEYS
local taken, raws, heads = {}, {}, {}
local left = limit
for position = 2, lists do
  local found = call('RPOP', KEYS[position], left)
  if found and #found > 0 then
    taken[#taken + 1] = position - 1
    taken[#taken + 1] = #found
    local list = string.sub(KEYS[position], #P + 1)
    local head = #list .. ':' .. list
    for _, raw in ipairs(found) do
      raws[#raws + 1] = raw
      heads[#raws] = head
    end
    left = left - #found
    if left == 0 then
      break
    end
  end
end

local token = 0
if #raws > 0 then
  token = call('INCRBY', TOKEN, #raws) - #raws + 1
  local pairs_of = {}
  for i, raw in ipairs(raws) do
    pairs_of[2 * i - 1] = string.format('%d', token + i - 1)
    pairs_of[2 * i] = heads[i] .. raw
  end
  call('HSET', leases, unpack(pairs_of))
  if call('HLEN', leases) == #raws then
    holds(owner)
  end
end

-- When the lists are empty the client is going to wait. What it reads last here it will hear of when it changes.
local armed = '0'
if left > 0 then
  for position = 2, lists do
    call('LLEN', KEYS[position])
  end
  armed = '1'
end
first = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
return { seconds(now), first[2] or '', armed, token, refused, taken, raws }
