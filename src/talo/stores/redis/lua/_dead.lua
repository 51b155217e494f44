-- What the scripts share about dead letters. This text is put in front of every script that says "uses _dead.lua".
--
-- Keys
--   talo:dead         zset  id -> time of death
--   talo:dead:ends    zset  id -> when it may be deleted, those that end
--   talo:dead:items   hash  id -> "<died> <deliveries> <ends or ''> <length of task id> <of death> <of list>\n<task
-- id><death><list><raw>"   talo:dead:tasks   hash  task id -> ids, with blanks between

local DEAD, ENDS = P .. 'talo:dead', P .. 'talo:dead:ends'
local ITEMS, TASKS = P .. 'talo:dead:items', P .. 'talo:dead:tasks'

-- The item of an id that exists and has not ended.
local function item_of(id)
  local ends = call('ZSCORE', ENDS, id)
  if ends and tonumber(ends) <= now then
    return nil
  end
  return call('HGET', ITEMS, id) or nil
end

-- The ids that a name means: itself, or the dead letters of a task id.
local function ids_of(name)
  if call('HEXISTS', ITEMS, name) == 1 then
    return { name }
  end
  local ids = {}
  for id in string.gmatch(call('HGET', TASKS, name) or '', '%S+') do
    ids[#ids + 1] = id
  end
  return ids
end

local function delete(id)
  local item = call('HGET', ITEMS, id)
  if not item then
    return
  end
  call('HDEL', ITEMS, id)
  call('ZREM', DEAD, id)
  call('ZREM', ENDS, id)
  local length, start = string.match(item, '^%S+ %S+ %S* (%d+) %d+ %d+\n()')
  local task_id = string.sub(item, start, start + tonumber(length) - 1)
  local rest = {}
  for other in string.gmatch(task_id ~= '' and call('HGET', TASKS, task_id) or '', '%S+') do
    if other ~= id then
      rest[#rest + 1] = other
    end
  end
  if #rest > 0 then
    call('HSET', TASKS, task_id, table.concat(rest, ' '))
  elseif task_id ~= '' then
    call('HDEL', TASKS, task_id)
  end
end
