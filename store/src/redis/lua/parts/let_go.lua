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

-- The session let go of something: one of those who wait for it looks again.
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
