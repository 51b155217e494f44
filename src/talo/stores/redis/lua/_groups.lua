-- What the scripts share about groups that something waits for. This text is put in front of every script that says
-- "uses _groups.lua"; it needs _messages.lua in front of it.
--
-- Keys
--   talo:group:<id>        hash  size, list, raw (the continuation), plan, keep (milliseconds, '' for ever),
--                                last (the member that made it complete), closed ('1': its continuation has run)
--   talo:group:<id>:parts  hash  member -> "<index>:<payload>"; how many there are says whether the group is complete
--
-- A closed group is remembered for an hour, so that a repeated continuation finds it closed.

local REMEMBERED = 3600000

local function group_of(id)
  return P .. 'talo:group:' .. id
end

local function keep(key, ttl)
  if ttl and ttl ~= '' then
    call('PEXPIRE', key, ttl)
  end
end

-- Add a part; when it is the last one missing, the list and the raw of the continuation. Nothing for a group that is
-- unknown or closed, or a member that is there. With repeated, the member that completed the group is answered again.
local function add_part(id, member, index, payload, grows, repeated)
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

-- Close a group and delete its parts; false if it was closed already.
local function close(id)
  local key = group_of(id)
  if call('HGET', key, 'closed') then
    return false
  end
  call('UNLINK', key, key .. ':parts')
  call('HSET', key, 'closed', '1')
  call('PEXPIRE', key, REMEMBERED)
  return true
end
