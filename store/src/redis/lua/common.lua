-- What every script begins with. KEYS[1] is the tenant's prefix; ARGV: channel, tenant, now in microseconds.
-- Times are put together as text: a number of 16 digits would be rounded by `..`.
local base, channel, tenant, now = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local now_n = tonumber(now)
local call = redis.call

local topics = {}
local function wake_inbox(inbox) topics['i' .. inbox] = true end
local function wake_partition(partition) topics['p' .. partition] = true end

-- Tells all processes what may be there. The counter lets them see that they missed something.
local function publish()
  local list = {}
  for topic in pairs(topics) do list[#list + 1] = topic end
  if #list > 0 then
    local n = call('HINCRBY', base, 'wakes', 1)
    call('PUBLISH', channel, tenant .. '\n' .. n .. '\n' .. table.concat(list, ','))
  end
end

local function event_key(seq) return base .. ':e:' .. seq end
local function inbox_key(inbox, what) return base .. ':i:' .. inbox .. ':' .. what end
local function session_key(session) return base .. ':s:' .. session end

-- Changes of the tenant's counters, written once at the end.
local sums = {}
local function add(name, by) sums[name] = (sums[name] or 0) + by end
local function write_sums()
  for name, by in pairs(sums) do
    if by ~= 0 then call('HINCRBY', base, name, by) end
  end
end

-- How many copies of each inbox each session holds, written once at the end.
local holds = {}
local function add_held(inbox, session, by)
  local of = holds[inbox] or {}
  holds[inbox] = of
  of[session] = (of[session] or 0) + by
end
local function write_holds()
  for inbox, of in pairs(holds) do
    local key = inbox_key(inbox, 'h')
    for session, by in pairs(of) do
      if by ~= 0 and call('HINCRBY', key, session, by) <= 0 then call('HDEL', key, session) end
    end
  end
  holds = {}
end

-- A command with many arguments after its key, in portions that Lua can unpack.
local function call_many(command, key, args)
  for first = 1, #args, 1000 do call(command, key, unpack(args, first, math.min(first + 999, #args))) end
end

-- Some copies of an event were opened or closed (`open`), parked or taken back (`dead`). `f` is its o, x and b. Gives
-- the new o and x, for the caller to write with what else changes.
local function count(f, open, dead)
  local o, x, b = tonumber(f[1]) or 0, tonumber(f[2]) or 0, tonumber(f[3]) or 0
  local o2, x2 = math.max(o + open, 0), math.max(x + dead, 0)
  if o + x > 0 and o2 + x2 == 0 then add('pending', -b) end
  if o + x == 0 and o2 + x2 > 0 then add('pending', b) end
  if x > 0 and x2 == 0 then add('dead_bytes', -b) end
  if x == 0 and x2 > 0 then add('dead_bytes', b) end
  add('dead', x2 - x)
  return o2, x2
end

-- A copy's state as text: its letter, attempts, replay mark, time, and the rest.
local function state(letter, attempts, replay, time, rest)
  return letter .. attempts .. ':' .. replay .. ':' .. time .. ':' .. rest
end
local function read_state(text)
  local attempts, replay, time, rest = string.match(text, '^.(%d+):(%d):(%-?%d+):(.*)$')
  return tonumber(attempts), replay, time, rest
end

-- Keeps the time at which the first delay of an inbox ends.
local function note_due(inbox)
  local first = call('ZRANGE', inbox_key(inbox, 't'), 0, 0, 'WITHSCORES')
  if first[1] then call('ZADD', base .. ':due', first[2], inbox) else call('ZREM', base .. ':due', inbox) end
end

-- Ends the delays of an inbox that are over; one that is longer than an hour is of a clock that went back.
local LONGEST = 3600 * 1000000
local function end_delays(inbox)
  local t = inbox_key(inbox, 't')
  if call('EXISTS', t) == 0 then return false end
  local ended = call('ZRANGEBYSCORE', t, '-inf', now)
  for _, seq in ipairs(call('ZRANGEBYSCORE', t, '(' .. string.format('%.0f', now_n + LONGEST), '+inf')) do
    ended[#ended + 1] = seq
  end
  for _, seq in ipairs(ended) do
    call('ZREM', t, seq)
    call('ZADD', inbox_key(inbox, 'w'), seq, seq)
  end
  if #ended > 0 then note_due(inbox) end
  return #ended > 0
end

-- Where a session holds an event, as it notes it: places, inboxes and the event's thread.
local function note_of(seq, inbox, thread) return seq .. ':' .. inbox .. ':' .. thread .. ';' end
local function places_of(text)
  local found = {}
  if text then
    for seq, inbox, thread in string.gmatch(text, '(%d+):(%x+):(%x*);') do found[#found + 1] = { seq, inbox, thread } end
  end
  return found
end
local function held(session, id) return places_of(call('HGET', session_key(session), id)) end

-- Beside its events a session notes the inboxes in which others wait for it, because it holds earlier events of threads.
local WAITED = '*'
local function waited_for(session, inbox)
  local text = call('HGET', session_key(session), WAITED) or ''
  if not string.find(text, inbox, 1, true) then call('HSET', session_key(session), WAITED, text .. inbox .. ';') end
end
-- The session let go of something: they look again.
local function wake_waiting(session, text)
  if not text then return end
  for inbox in string.gmatch(text, '(%x+);') do wake_inbox(inbox) end
  call('HDEL', session_key(session), WAITED)
end

-- A copy that a session lets go of; nil if it is not what the session thinks.
local function held_copy(seq, inbox, session)
  local key = event_key(seq)
  local f = call('HMGET', key, 'o', 'x', 'b', 'c:' .. inbox)
  if not f[4] or string.sub(f[4], 1, 1) ~= 'h' then return nil end
  local attempts, replay, since, rest = read_state(f[4])
  local owner, pull = string.match(rest, '^(%x+):(.*)$')
  if owner ~= session then return nil end
  add_held(inbox, session, -1)
  return { key = key, f = f, attempts = attempts, replay = replay, since = since, pull = pull }
end

local function park(copy, seq, inbox, reason)
  local o, x = count(copy.f, -1, 1)
  call('HSET', copy.key, 'c:' .. inbox, state('x', copy.attempts, copy.replay, now, reason), 'o', o, 'x', x)
  call('ZADD', inbox_key(inbox, 'x'), seq, seq)
  call('ZADD', base .. ':dead', 0, inbox)
end
-- A parked copy is none any more.
local function unpark(seq, inbox)
  local x = inbox_key(inbox, 'x')
  call('ZREM', x, seq)
  if call('EXISTS', x) == 0 then call('ZREM', base .. ':dead', inbox) end
end

-- Puts a copy back, to be handed out again at once.
local function ready(key, seq, inbox, attempts, replay, reason)
  call('HSET', key, 'c:' .. inbox, state('w', attempts, replay, '0', reason))
  call('ZADD', inbox_key(inbox, 'w'), seq, seq)
  wake_inbox(inbox)
end

-- The pulls of a process up to this number hand nothing out any more.
local function revoke(session, process, upto)
  local key = base .. ':r:' .. session
  local before = tonumber(call('HGET', key, process)) or 0
  if tonumber(upto) > before then call('HSET', key, process, upto) end
  call('PEXPIRE', key, 600000)
end
