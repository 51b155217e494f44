-- What the scripts share about messages. This text is put in front of every script that says "uses _messages.lua".
--
-- ARGV[1]  key prefix of all keys, may be empty.
--
-- Words
--   list     the name of a ready list without the prefix: the queue, and for priority steps 3, 6, 9 the bytes 06 16
-- and the step.   raw      the envelope of a message as Celery writes it. A message that was charged or is suspect
-- carries these facts in front            of its first member, as {"talo":[deliveries,suspect], ... : a place where
-- other readers see nothing and which travels with            the message through list, lease and delay, so that
-- nothing is left behind when it ends. Bytes that are no object carry            them in front, between two NULs: they
-- make no message for anybody.   value    what stands in a lease hash: "<length of list>:<list><raw>".
--
-- Keys
--   talo:owners           zset  owner -> end of its lease (seconds by this server's clock)
--   talo:owners:info      hash  owner -> what the owner said of itself
--   talo:owners:holding   set   owners that may hold something: who once leased and was not seen empty by a renewal since
--   talo:leases:<owner>   hash  token -> value
--   talo:token            string, counter: tokens, numbers of delayed messages and of dead letters
--   talo:delayed          zset  "<16 digits>:<list>" -> due time; the digits keep the order of sending among equals
--   talo:delayed:raw      hash  member of talo:delayed -> raw
--   talo:delayed:count    hash  list -> how many of it are delayed
--   talo:delayed:tasks    hash  task id -> the member of talo:delayed that was delayed last for it. Releases that knew
-- nothing of it delay without it, and leave what they make ready in it.
--   <list>                list  raw; LPUSH at the tail, RPOP from the head

local P = ARGV[1]
local OWNERS, INFO, TOKEN = P .. 'talo:owners', P .. 'talo:owners:info', P .. 'talo:token'
local DELAYED, DELAYED_RAW, DELAYED_COUNT = P .. 'talo:delayed', P .. 'talo:delayed:raw', P .. 'talo:delayed:count'
local DELAYED_TASKS = P .. 'talo:delayed:tasks'
local HOLDING = P .. 'talo:owners:holding'
local call = redis.call

local clock = call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

local function seconds(number)
  return string.format('%.6f', number)
end

local function leases_of(owner)
  return P .. 'talo:leases:' .. owner
end

-- The owner holds something from now on: nothing that leads to it may expire.
local function holds(owner)
  if call('SADD', HOLDING, owner) == 1 then
    call('PERSIST', OWNERS)
    call('PERSIST', INFO)
  end
end

-- While nobody holds anything, owners that nobody renews any more are forgotten after an hour, and three leases.
local function let_fade(lease)
  if call('EXISTS', HOLDING) == 0 then
    local keep = math.ceil(1000 * math.max(3600, 3 * tonumber(lease)))
    call('PEXPIRE', OWNERS, keep)
    call('PEXPIRE', INFO, keep)
  end
end

-- The list and the raw of a value.
local function opened(value)
  local colon = string.find(value, ':', 1, true)
  local stop = colon + tonumber(string.sub(value, 1, colon - 1))
  return string.sub(value, colon + 1, stop), string.sub(value, stop + 1)
end

-- deliveries (number), suspect (boolean) and the raw without them.
local function facts(raw)
  local deliveries, suspect, rest, brace = nil, nil, nil, ''
  if string.sub(raw, 1, 9) == '{"talo":[' then
    deliveries, suspect, rest = string.match(raw, '^{"talo":%[(%d+),([01])%],()')
    brace = '{'
  elseif string.sub(raw, 1, 6) == '\0talo:' then
    deliveries, suspect, rest = string.match(raw, '^%ztalo:(%d+),([01])%z()')
  end
  if not deliveries then
    return 0, false, raw
  end
  return tonumber(deliveries), suspect == '1', brace .. string.sub(raw, rest)
end

-- The bare raw with these facts.
local function with_facts(raw, deliveries, suspect)
  if deliveries == 0 and not suspect then
    return raw
  end
  local numbers = string.format('%d,%d', deliveries, suspect and 1 or 0)
  if string.sub(raw, 1, 1) == '{' then
    return '{"talo":[' .. numbers .. '],' .. string.sub(raw, 2)
  end
  return '\0talo:' .. numbers .. '\0' .. raw
end

-- The task id in a raw, where it is written without escapes; else nil.
local function task_of(raw)
  return string.match(raw, '"id":%s?"([^"\\]+)"')
end

local function delay(list, raw, due)
  local member = string.format('%016d:', call('INCR', TOKEN)) .. list
  call('ZADD', DELAYED, due, member)
  call('HSET', DELAYED_RAW, member, raw)
  call('HINCRBY', DELAYED_COUNT, list, 1)
  local task = task_of(raw)
  if task then
    call('HSET', DELAYED_TASKS, task, member)
  end
end

-- Its raw goes, and what leads to it; the raw, or false if there is none.
local function forget_delayed(member)
  local raw = call('HGET', DELAYED_RAW, member)
  call('HDEL', DELAYED_RAW, member)
  local task = raw and task_of(raw)
  if task then
    call('HDEL', DELAYED_TASKS, task)
  end
  return raw
end

-- Take a member away that is still delayed; its list and its raw, or nil if it is not.
local function undelay(member)
  if call('ZREM', DELAYED, member) == 0 then
    return nil
  end
  local list = string.sub(member, 18)
  if call('HINCRBY', DELAYED_COUNT, list, -1) <= 0 then
    call('HDEL', DELAYED_COUNT, list)
  end
  return list, forget_delayed(member)
end

-- To the tail of its list, or to the delayed ones if due ('' means at once) lies ahead by this server's clock.
local function send(list, raw, due)
  if due ~= '' and tonumber(due) > now then
    delay(list, raw, due)
  else
    call('LPUSH', P .. list, raw)
  end
end
