-- What every script begins with. KEYS[1] is the tenant's prefix; ARGV: channel, tenant, now in microseconds.
-- Times are put together as text: a number of 16 digits would be rounded by `..`.
local base, channel, tenant, now = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local now_n = tonumber(now)
local call = redis.call

local topics = {}
local function wake_inbox(inbox) topics['i' .. inbox] = true end
local function wake_partition(partition) topics['p' .. partition] = true end

-- Tells all processes what may be there. The counter lets them see that they missed something; `n` is its new value, if
-- that is written already.
local function publish(n)
  local list = {}
  for topic in pairs(topics) do list[#list + 1] = topic end
  if #list > 0 then
    n = n or call('HINCRBY', base, 'wakes', 1)
    call('PUBLISH', channel, tenant .. '\n' .. n .. '\n' .. table.concat(list, ','))
  end
end

local function event_key(seq) return base .. ':e:' .. seq end
-- The payload of an event stands apart from what scripts read: to bring it through Lua would cost more than all else.
local function payload_key(id) return base .. ':v:' .. id end
local function why_key(seq) return base .. ':y:' .. seq end
local function inbox_key(inbox, what) return base .. ':i:' .. inbox .. ':' .. what end
local function session_key(session) return base .. ':s:' .. session end

-- A command with many arguments after its key, in portions that Lua can unpack.
local function call_many(command, key, args)
  for first = 1, #args, 1000 do call(command, key, unpack(args, first, math.min(first + 999, #args))) end
end
