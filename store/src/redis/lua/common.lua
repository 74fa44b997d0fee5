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
-- The payload of an event stands apart from what scripts read: to bring it through Lua would cost more than all else.
local function payload_key(id) return base .. ':v:' .. id end
local function why_key(seq) return base .. ':y:' .. seq end
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

-- A command with many arguments after its key, in portions that Lua can unpack.
local function call_many(command, key, args)
  for first = 1, #args, 1000 do call(command, key, unpack(args, first, math.min(first + 999, #args))) end
end

-- The same of a command without a key before its arguments.
local function call_pairs(command, args)
  for first = 1, #args, 1000 do call(command, unpack(args, first, math.min(first + 999, #args))) end
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

-- Puts places into an inbox, where they wait.
local function wait_at(inbox, places)
  local pairs_of = {}
  for _, seq in ipairs(places) do
    pairs_of[#pairs_of + 1] = seq
    pairs_of[#pairs_of + 1] = seq
  end
  call_many('ZADD', inbox_key(inbox, 'w'), pairs_of)
end

-- Keeps the time at which the first delay of an inbox ends.
local function note_due(inbox)
  local first = call('ZRANGE', inbox_key(inbox, 't'), 0, 0, 'WITHSCORES')
  if first[1] then call('ZADD', base .. ':due', first[2], inbox) else call('ZREM', base .. ':due', inbox) end
end

-- Ends the delays of an inbox that are over, some at a time; one that is longer than an hour is of a clock that went back.
local LONGEST, ENDED_AT_ONCE = 3600 * 1000000, 1000
local function end_delays(inbox)
  local t = inbox_key(inbox, 't')
  local ended = call('ZRANGEBYSCORE', t, '-inf', now, 'LIMIT', 0, ENDED_AT_ONCE)
  local far = '(' .. string.format('%.0f', now_n + LONGEST)
  for _, seq in ipairs(call('ZRANGEBYSCORE', t, far, '+inf', 'LIMIT', 0, ENDED_AT_ONCE)) do ended[#ended + 1] = seq end
  -- First where it goes to, then where it comes from: whatever fails in between loses nothing.
  wait_at(inbox, ended)
  call_many('ZREM', t, ended)
  note_due(inbox)
  return #ended > 0
end

-- What a session holds of an event, as it notes it: of each copy the place, the inbox, the event's thread, the attempt,
-- whether it is a replay, since when, and by which pull. In the event itself the copy goes on as one that waits.
local function note_of(h)
  return table.concat({ h.seq, h.inbox, h.thread, h.attempts, h.replay, h.since, h.pull }, ':') .. ';'
end
local NOTE = '(%d+):(%x+):(%x*):(%d+):(%d):(%d+):([%x-]*);'
local function held_by(session, text)
  local found = {}
  for seq, inbox, thread, attempts, replay, since, pull in string.gmatch(text or '', NOTE) do
    found[#found + 1] = { session = session, seq = seq, inbox = inbox, thread = thread, attempts = tonumber(attempts),
      replay = replay, since = since, pull = pull }
  end
  return found
end
local function held(session, id) return held_by(session, call('HGET', session_key(session), id)) end

-- At which threads of an inbox which session is, and with how many copies: `session:count`.
local function holder_of(text)
  local session, n = string.match(text or '', '^(%x+):(%d+)$')
  return session, tonumber(n) or 0
end

-- Copies that sessions let go of, by inbox and thread; written once at the end.
local freed = {}
local function write_freed()
  for inbox, threads in pairs(freed) do
    local key, names = inbox_key(inbox, 'h'), {}
    for thread in pairs(threads) do names[#names + 1] = thread end
    for first = 1, #names, 1000 do
      local last = math.min(first + 999, #names)
      local free, rest = {}, {}
      for n, text in ipairs(call('HMGET', key, unpack(names, first, last))) do
        local thread = names[first + n - 1]
        local session, before = holder_of(text)
        local left = before - (threads[thread][session or ''] or 0)
        if left <= 0 then
          free[#free + 1] = thread
        elseif left < before then
          rest[#rest + 1] = thread
          rest[#rest + 1] = session .. ':' .. left
        end
      end
      call_many('HDEL', key, free)
      call_many('HSET', key, rest)
    end
  end
  freed = {}
end

-- Beside its events a session notes the inboxes in which others wait for it, because it holds earlier events of threads.
local WAITED = '*'
local function waited_for(session, inbox)
  local text = call('HGET', session_key(session), WAITED) or ''
  if not string.find(text, inbox, 1, true) then call('HSET', session_key(session), WAITED, text .. inbox .. ';') end
end
-- The session let go of something: one of them looks again.
local function wake_waiting(session, text)
  if not text then return end
  for inbox in string.gmatch(text, '(%x+);') do wake_inbox(inbox) end
  call('HDEL', session_key(session), WAITED)
end

-- A session lets go of a copy: gives what else is to be known of it; nil if it is not what the session thinks.
local function let_go(h)
  local threads = freed[h.inbox] or {}
  freed[h.inbox] = threads
  local of = threads[h.thread] or {}
  threads[h.thread] = of
  of[h.session] = (of[h.session] or 0) + 1
  h.key = event_key(h.seq)
  h.f = call('HMGET', h.key, 'o', 'x', 'b', 'c:' .. h.inbox)
  return h.f[4] and string.sub(h.f[4], 1, 1) == 'w' and h or nil
end

-- Where a copy goes is written first and its state last: whatever fails in between loses nothing when it is done again.
local function park(h, reason)
  call('ZADD', inbox_key(h.inbox, 'x'), h.seq, h.seq)
  call('ZADD', base .. ':dead', 0, h.inbox)
  local o, x = count(h.f, -1, 1)
  call('HSET', h.key, 'c:' .. h.inbox, state('x', h.attempts, h.replay, now, reason), 'o', o, 'x', x)
end
-- A parked copy is none any more.
local function unpark(seq, inbox)
  local x = inbox_key(inbox, 'x')
  call('ZREM', x, seq)
  if call('EXISTS', x) == 0 then call('ZREM', base .. ':dead', inbox) end
end

-- Puts a copy where it waits, to be handed out again at once.
local function ready(seq, inbox, attempts, replay, reason)
  call('ZADD', inbox_key(inbox, 'w'), seq, seq)
  call('HSET', event_key(seq), 'c:' .. inbox, state('w', attempts, replay, '0', reason))
  wake_inbox(inbox)
end

-- The pulls that hand nothing out any more, of a session: `process:number;` of each process, up to that number.
local function revoked_key(session) return base .. ':r:' .. session end
local FENCED = '*;'
local function is_revoked(text, process, number)
  if not text then return false end
  local upto = tonumber(string.match(text, process .. ':(%d+);'))
  return string.find(text, FENCED, 1, true) ~= nil or (upto ~= nil and tonumber(number) <= upto)
end
local function revoke(session, process, upto)
  local key = revoked_key(session)
  local text = call('GET', key) or ''
  local before = tonumber(string.match(text, process .. ':(%d+);'))
  if before then text = string.gsub(text, process .. ':%d+;', '') end
  text = text .. process .. ':' .. string.format('%.0f', math.max(before or 0, tonumber(upto))) .. ';'
  call('SET', key, text, 'PX', 600000)
end
