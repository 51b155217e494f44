-- What the scripts share about periodic tasks. This text is put in front of every script that says "uses _plans.lua".
--
-- ARGV[2]  the space
--
-- Keys
--   talo:plans:<space>              hash    name -> plan, JSON
--   talo:plans:<space>:versions     zset    name -> version of its last change, drawn from talo:token
--   talo:plans:<space>:removed      zset    name -> version of its removal, the latest 1000
--   talo:plans:<space>:forgotten    string  version up to which removals are forgotten
--   talo:plans:<space>:runs:<name>  list    runs, JSON, the latest first, 200 at most

local PLANS = P .. 'talo:plans:' .. ARGV[2]
local VERSIONS, REMOVED, FORGOTTEN = PLANS .. ':versions', PLANS .. ':removed', PLANS .. ':forgotten'
local RUNS = PLANS .. ':runs:'
local KEPT_RUNS, KEPT_REMOVALS = 200, 1000
