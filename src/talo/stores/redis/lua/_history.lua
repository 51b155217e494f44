-- What the scripts share about counters and history. This text is put in front of every script that says
-- "uses _history.lua"; it comes after _messages.lua.
--
-- Words
--   log      'ok' for successes, 'bad' for everything else: each is kept for a time of its own
--   chunk    a number; up to some thousands of runs of one log that were written one after the other and go together
--   offset   the place of a run in its chunk, from 0; at most 65535
--   list     offsets in the order of writing, two bytes each, the greater byte first
--   facet    what runs are found by: state:<state>, name:<task>, queue:<queue>, worker:<worker>, kind:<fingerprint>,
--            and error: for all that have an error
--
-- Keys, all of which expire
--   talo:counts:<width>:<start>         hash    c<field> -> how many, s<field> -> microseconds; the period begins at
--                                               <start> and is <width> seconds long; field: task, queue, state, run or
--                                               wait, bucket, with NULs between
--   talo:runs:<log>                     zset    chunk -> when it was begun
--   talo:runs:<log>:<chunk>:times       string  when each run ended, eight bytes each (double, little-endian)
--   talo:runs:<log>:<chunk>:items       hash    offset -> the run, msgpack
--   talo:runs:<log>:<chunk>:ids         hash    bucket of an id or of a root's -> list
--   talo:runs:<log>:<chunk>:keys        set     facets that are there
--   talo:runs:<log>:<chunk>:is:<facet>  string  list
--   talo:runs:<log>:<chunk>:gone        string  list of what was forgotten, in no order
--   talo:runs:<log>:<chunk>:keep        string  seconds to keep the runs

local HISTORY = P .. 'talo:runs:'
local MINUTES, HOURS = { 60, 172800 }, { 3600, 1209600 }

local function chunk_of(log, number)
  return HISTORY .. log .. ':' .. number
end

local function count_up(minute, field, count, micros, touched)
  for _, period in ipairs({ MINUTES, HOURS }) do
    local start = tonumber(minute) - tonumber(minute) % period[1]
    local key = P .. 'talo:counts:' .. period[1] .. ':' .. string.format('%d', start)
    call('HINCRBY', key, 'c' .. field, count)
    if micros ~= '0' then
      call('HINCRBY', key, 's' .. field, micros)
    end
    touched[key] = period[2]
  end
end

-- From ARGV[at + 1]: number of counters, then per counter: minute, field, count, microseconds. Then one text with 20
-- bytes per settlement: the positions (from 0) of its two counters, 65535 for none, and the microseconds that it added to
-- each. What the positions in nothing (from 1) say was not applied is taken off. Returns the place of that text.
local function count_all(at, nothing)
  local number = tonumber(ARGV[at + 1])
  local first = at + 1
  at = first + 4 * number + 1
  local off = {}
  for _, position in ipairs(nothing) do
    local run, wait, run_micros, wait_micros = struct.unpack('<HHdd', ARGV[at], 20 * (position - 1) + 1)
    for counter, micros in pairs({ [run] = run_micros, [wait] = wait_micros }) do
      if counter ~= 65535 then
        local sums = off[counter] or { 0, 0 }
        off[counter] = { sums[1] + 1, sums[2] + micros }
      end
    end
  end
  local touched = {}
  for counter = 0, number - 1 do
    local a = first + 4 * counter
    local sums = off[counter]
    if not sums then
      count_up(ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], touched)
    elseif tonumber(ARGV[a + 3]) > sums[1] then
      local count, micros = tonumber(ARGV[a + 3]) - sums[1], tonumber(ARGV[a + 4]) - sums[2]
      count_up(ARGV[a + 1], ARGV[a + 2], count, string.format('%.0f', micros), touched)
    end
  end
  for key, keep in pairs(touched) do
    call('EXPIRE', key, keep)
  end
  return at
end

-- The chunk that runs of a log are written to now: { key, how many are in it, seconds its keys live }. A chunk ends when
-- it is full, or old enough that what is in it can go together.
local open_chunks = {}
local function open_chunk(log, keep, size)
  local span = math.max(60, keep / 8)
  local chunk = open_chunks[log]
  if chunk and chunk.number < size then
    return chunk
  end
  local last = call('ZRANGE', HISTORY .. log, -1, -1, 'WITHSCORES')
  local key = last[1] and chunk_of(log, last[1])
  local number = key and call('STRLEN', key .. ':times') / 8 or size
  if not key or number >= size or tonumber(last[2]) + span < now then
    local name = string.format('%d', (tonumber(last[1]) or 0) + 1)
    call('ZADD', HISTORY .. log, seconds(now), name)
    key, number = chunk_of(log, name), 0
  end
  chunk = { key = key, number = number, life = math.ceil(keep + span + 3600) }
  call('EXPIRE', HISTORY .. log, chunk.life + 86400)
  local kept = tonumber(call('GET', key .. ':keep') or '-1')
  if keep > kept then
    call('SET', key .. ':keep', seconds(keep), 'EX', chunk.life)
  end
  open_chunks[log] = chunk
  return chunk
end

local function add_to(chunk, facet, place)
  local key = chunk.key .. ':is:' .. facet
  if call('APPEND', key, place) == 2 then
    call('EXPIRE', key, chunk.life)
    call('SADD', chunk.key .. ':keys', facet)
  end
end

local function add_id(chunk, bucket, place)
  local ids = chunk.key .. ':ids'
  call('HSET', ids, bucket, (call('HGET', ids, bucket) or '') .. place)
end

-- Keep the run at ARGV[at + 1]: log, seconds to keep it, when it ended, the run, bucket of its id, bucket of its root's
-- or '', state, task, queue, worker, fingerprint or '', '1' if it has an error.
local function keep_run(at, size)
  local chunk = open_chunk(ARGV[at + 1], tonumber(ARGV[at + 2]), size)
  local place = struct.pack('>H', chunk.number)
  call('APPEND', chunk.key .. ':times', struct.pack('<d', tonumber(ARGV[at + 3])))
  call('HSET', chunk.key .. ':items', string.format('%d', chunk.number), ARGV[at + 4])
  add_id(chunk, ARGV[at + 5], place)
  if ARGV[at + 6] ~= '' then
    add_id(chunk, ARGV[at + 6], place)
  end
  add_to(chunk, 'state:' .. ARGV[at + 7], place)
  add_to(chunk, 'name:' .. ARGV[at + 8], place)
  add_to(chunk, 'queue:' .. ARGV[at + 9], place)
  add_to(chunk, 'worker:' .. ARGV[at + 10], place)
  if ARGV[at + 11] ~= '' then
    add_to(chunk, 'kind:' .. ARGV[at + 11], place)
  end
  if ARGV[at + 12] == '1' then
    add_to(chunk, 'error:', place)
  end
  if chunk.number == 0 then
    for _, part in ipairs({ ':times', ':items', ':ids', ':keys' }) do
      call('EXPIRE', chunk.key .. part, chunk.life)
    end
  end
  chunk.number = chunk.number + 1
end
