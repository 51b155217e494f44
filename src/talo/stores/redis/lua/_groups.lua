-- What the scripts share about groups that something waits for. This text is put in front of every script that says
-- "uses _groups.lua"; it needs _messages.lua in front of it.
--
-- Keys
--   talo:group:<id>        hash  size, list, raw (the continuation), plan, keep (milliseconds, '' for ever),
--                                last (the member that made it complete), closed ('1': its continuation has run)
--   talo:group:<id>:parts  hash  member -> "<index>:<payload>"; how many there are says whether the group is complete
--
-- A closed group, or step of a chain (which nobody opened), is remembered for an hour, so that a repeated continuation
-- finds it closed.

local REMEMBERED = 3600000

local function group_of(id)
  return P .. 'talo:group:' .. id
end

local function keep(key, ttl)
  if ttl and ttl ~= '' then
    call('PEXPIRE', key, ttl)
  end
end

-- The same for a chord that Celery sent, in Celery's keys: <base>.s how many members, .t how many were added, .j parts by
-- index, .d members seen, .c who sends the body ('done': it is sent). Whoever claims it here keeps its claim in a message.
local function add_celery_part(base, member, index, payload, list, raw, ttl)
  if call('GET', base .. '.c') == 'done' then
    return nil
  end
  local seen = member .. ':' .. index
  if call('SISMEMBER', base .. '.d', seen) == 0 then
    call('ZADD', base .. '.j', index, payload)
    call('SADD', base .. '.d', seen)
  end
  for _, suffix in ipairs({ '.j', '.t', '.s', '.d', '' }) do
    keep(base .. suffix, ttl)
  end
  local size = call('GET', base .. '.s')
  local added = call('GET', base .. '.t')
  if not size or call('ZCARD', base .. '.j') < tonumber(size) + (added and tonumber(added) or 0) then
    return nil
  end
  if call('SET', base .. '.c', member, 'NX', 'EX', 86400) or call('GET', base .. '.c') == member then
    return list, raw
  end
  return nil
end

-- Add a part; when it is the last one missing, the list and the raw of the continuation. Nothing for a group that is
-- unknown or closed, or a member that is there. With repeated, the member that completed the group is answered again.
local function add_part(id, member, index, payload, grows, repeated, list, raw, ttl)
  if raw ~= '' then
    return add_celery_part(id, member, index, payload, list, raw, ttl)
  end
  local key = group_of(id)
  local facts_of = call('HMGET', key, 'size', 'closed', 'keep', 'list', 'raw')
  if not facts_of[1] or facts_of[2] then
    return nil
  end
  local parts = key .. ':parts'
  if call('HSETNX', parts, member, index .. ':' .. payload) == 0 then
    if repeated and call('HGET', key, 'last') == member then
      return facts_of[4], facts_of[5]
    end
    return nil
  end
  keep(key, facts_of[3])
  keep(parts, facts_of[3])
  local size = tonumber(facts_of[1])
  if grows ~= '0' then
    size = call('HINCRBY', key, 'size', grows)
  end
  if call('HLEN', parts) == size and facts_of[5] then
    call('HSET', key, 'last', member)
    return facts_of[4], facts_of[5]
  end
  return nil
end

-- Close a group and delete its parts, or close the step of a chain; false if it was closed already.
local function close(id)
  if string.sub(id, 1, 1) == '@' then
    local base = string.sub(id, 2)
    if call('GET', base .. '.c') == 'done' then
      return false
    end
    call('DEL', base .. '.j', base .. '.t', base .. '.s', base .. '.d')
    call('SET', base .. '.c', 'done', 'EX', 300)
    return true
  end
  local key = group_of(id)
  if call('HGET', key, 'closed') then
    return false
  end
  call('UNLINK', key, key .. ':parts')
  call('HSET', key, 'closed', '1')
  call('PEXPIRE', key, REMEMBERED)
  return true
end
