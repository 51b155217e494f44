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
--   talo:runs:<log>                     zset    chunk -> itself
--   talo:runs:<log>:<chunk>:times       string  when each run ended, eight bytes each (double, little-endian)
--   talo:runs:<log>:<chunk>:items       hash    offset -> the run, msgpack
--   talo:runs:<log>:<chunk>:ids         hash    bucket of an id or of a root's -> list
--   talo:runs:<log>:<chunk>:keys        set     facets that are there
--   talo:runs:<log>:<chunk>:is:<facet>  string  list
--   talo:runs:<log>:<chunk>:gone        string  list of what was forgotten, in no order
--   talo:runs:<log>:<chunk>:about       hash    begun -> when it was begun, keep -> seconds to keep the runs

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

-- The bucket of a time in seconds; -1 is for what has none. As in stores/history.py.
local function bucket_of(time)
  if time < 0 then
    return -1
  end
  local _, exponent = math.frexp(time * 1000)
  return math.max(0, math.min(exponent, 25))
end

-- What the settlements at these positions (from 1) would have added: sums -> counter -> { how many, microseconds }. told
-- has, in binary: the number of settlements (4 bytes), the sums of each (2 bytes, from 0, -1 for none), and for each
-- sums two columns of doubles, the run times and the waiting times of its settlements (-1 for none).
local function not_applied(told, positions)
  local wanted = {}
  for _, position in ipairs(positions) do
    wanted[position] = true
  end
  local sizes, places, settlements = {}, {}, struct.unpack('<I4', told)
  for position = 1, settlements do
    local sums = struct.unpack('<h', told, 3 + 2 * position)
    if sums >= 0 then
      if wanted[position] then
        places[#places + 1] = { sums, sizes[sums] or 0 }
      end
      sizes[sums] = (sizes[sums] or 0) + 1
    end
  end
  local columns = { [0] = 5 + 2 * settlements }
  for sums = 1, #sizes do
    columns[sums] = columns[sums - 1] + 16 * sizes[sums - 1]
  end
  local off = {}
  for _, place in ipairs(places) do
    local sums = place[1]
    local at = columns[sums] + 8 * place[2]
    local times = { run = struct.unpack('<d', told, at), wait = struct.unpack('<d', told, at + 8 * sizes[sums]) }
    off[sums] = off[sums] or {}
    for kind, time in pairs(times) do
      if kind == 'run' or time >= 0 then
        local counter = kind .. '\0' .. bucket_of(time)
        local known = off[sums][counter] or { 0, 0 }
        off[sums][counter] = { known[1] + 1, known[2] + math.max(time, 0) * 1000000 }
      end
    end
  end
  return off
end

-- From ARGV[at + 1]: number of sums, then per sums: minute, task, queue and state each with a NUL behind it, number of
-- counters, per counter: run or wait, NUL, bucket; how many; microseconds. Then one text for not_applied. What the
-- positions in nothing say was not applied is taken off. Returns the place of that text.
local function count_all(at, nothing)
  local number = tonumber(ARGV[at + 1])
  local first = at + 1
  at = first
  for _ = 1, number do
    at = at + 3 + 3 * tonumber(ARGV[at + 3])
  end
  at = at + 1
  local off = #nothing > 0 and not_applied(ARGV[at], nothing) or {}
  local touched, place = {}, first
  for sums = 0, number - 1 do
    local minute, names, counters = ARGV[place + 1], ARGV[place + 2], tonumber(ARGV[place + 3])
    for a = place + 3, place + 3 * counters, 3 do
      local less = off[sums] and off[sums][ARGV[a + 1]]
      if not less then
        count_up(minute, names .. ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], touched)
      elseif tonumber(ARGV[a + 2]) > less[1] then
        local count, micros = tonumber(ARGV[a + 2]) - less[1], tonumber(ARGV[a + 3]) - less[2]
        count_up(minute, names .. ARGV[a + 1], count, string.format('%.0f', math.max(micros, 0)), touched)
      end
    end
    place = place + 3 + 3 * counters
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
  local last = call('ZRANGE', HISTORY .. log, -1, -1)[1]
  local key = last and chunk_of(log, last)
  local number = key and call('STRLEN', key .. ':times') / 8 or size
  local begun = key and tonumber(call('HGET', key .. ':about', 'begun')) or 0
  local life = math.ceil(keep + span + 3600)
  if number >= size or begun + span < now then
    last = string.format('%d', (tonumber(last) or 0) + 1)
    call('ZADD', HISTORY .. log, last, last)
    key, number = chunk_of(log, last), 0
    call('HSET', key .. ':about', 'begun', seconds(now))
  end
  call('EXPIRE', HISTORY .. log, life + 86400)
  if keep > tonumber(call('HGET', key .. ':about', 'keep') or '-1') then
    call('HSET', key .. ':about', 'keep', seconds(keep))
    call('EXPIRE', key .. ':about', life)
  end
  chunk = { key = key, number = number, life = life }
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
