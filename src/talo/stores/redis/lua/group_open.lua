-- Keep the records of groups; one that exists begins anew. uses _messages.lua, _groups.lua
--
-- ARGV  1 key prefix, then per group: id, size, list and raw of the continuation ('' none), plan,
--       milliseconds to keep ('' for ever)
-- Returns 1.

for at = 2, #ARGV, 6 do
  local key = group_of(ARGV[at])
  call('UNLINK', key, key .. ':parts')
  call('HSET', key, 'size', ARGV[at + 1], 'plan', ARGV[at + 4], 'keep', ARGV[at + 5])
  if ARGV[at + 3] ~= '' then
    call('HSET', key, 'list', ARGV[at + 2], 'raw', ARGV[at + 3])
  end
  keep(key, ARGV[at + 5])
end
return 1
