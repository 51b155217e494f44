-- Strike out those of these that nobody has. uses _messages.lua, _ledger.lua
--
-- ARGV  1 key prefix, then fields
-- Returns 1.

for at = 2, #ARGV do
  if call('HEXISTS', HOLDERS, ARGV[at]) == 0 then
    call('HDEL', ENTRIES, ARGV[at])
    call('ZREM', wait_of(queue_of(ARGV[at])), ARGV[at])
  end
end
return 1
