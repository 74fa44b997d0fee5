-- What pulls and routes hand out. ARGV[4]: how many places are passed over at most.
local MOST_PASSED_OVER = tonumber(ARGV[4])
-- Of a pull, and of an offer that has become one: inbox, session, how many, how many bytes, the process and the number.
local PULL_FIELDS = 6
-- What is left: nothing, for whoever asks; more for this session; what others hold the threads of, or is not known.
local NOTHING, MORE, OTHERS = 0, 1, 2
-- Beside the threads an inbox notes that a pull came to the end of what it may pass over, and did not see what is behind.
local HIDDEN = '*'

-- Notes what a session was handed. It may hold the same events through other inboxes.
local function note(session, ids, notes)
  local key = session_key(session)
  if #ids == 1 and call('HSETNX', key, ids[1], notes[ids[1]]) == 1 then return end
  local known, fields = call('HMGET', key, unpack(ids)), {}
  for n, id in ipairs(ids) do
    fields[#fields + 1] = id
    fields[#fields + 1] = (known[n] or '') .. notes[id]
  end
  call_many('HSET', key, fields)
end

-- Others wait in an inbox for what a session holds.
local function waited_for(session, inbox)
  local text = call('HGET', session_key(session), WAITED) or ''
  if not string.find(text, inbox, 1, true) then call('HSET', session_key(session), WAITED, text .. inbox .. ';') end
end

-- Who holds nothing at all holds no thread either, whatever stands of it.
local holds_something = {}
local function is_at_work(session)
  if holds_something[session] == nil then holds_something[session] = call('EXISTS', session_key(session)) == 1 end
  return holds_something[session]
end

-- Places that wait in an inbox, in order, and what is to be known of each: id, thread, lengths, state of the copy.
local function waiting(inbox, from, to)
  local places, events = call('ZRANGE', inbox_key(inbox, 'w'), from, to), {}
  for n, seq in ipairs(places) do events[n] = call('HMGET', event_key(seq), 'i', 'g', 'l', 'c:' .. inbox) end
  return places, events
end

-- What is due comes first, by its place.
local function end_what_is_due() end_due('-inf', now) end

-- Chooses what to hand out: the first that wait, without the threads that others are at. `fresh` are places and events of
-- an inbox in which nothing waits but these, and these not yet: what of them is not handed out goes there.
local function pick(inbox, session, most, room, pull, fresh)
  local handed, gone, ids, notes, bytes = {}, {}, {}, {}, 0
  local w, h, at, passed_over, full, short = inbox_key(inbox, 'w'), inbox_key(inbox, 'h'), 0, 0, false, false
  -- How many copies of a thread this session has, as far as this pull changed it.
  local own = {}
  local hidden = nil
  local left = {}
  repeat
    -- One more than is handed out, to know whether any is left.
    local passed_before, want = passed_over, at > 0 and math.max(most, 64) or most + 1
    local places, events
    if fresh then
      places, events, short = fresh.places, fresh.events, true
    else
      places, events = waiting(inbox, at, at + want - 1)
      short = #places < want
    end
    at = at + #places
    local threads = {}
    for n = 1, #places do threads[n] = events[n][2] or '' end
    threads[#places + 1] = HIDDEN
    local holders = #places > 0 and call('HMGET', h, unpack(threads)) or {}
    hidden = hidden or holders[#places + 1]
    for n, seq in ipairs(places) do
      local id, thread, lengths, copy = unpack(events[n], 1, 4)
      local holder, count = holder_of(holders[n])
      full = full or #handed >= most
      if full then
        left[#left + 1] = seq
      elseif not id or not copy or string.sub(copy, 1, 1) ~= 'w' then
        gone[#gone + 1] = seq
      elseif holder and holder ~= session and is_at_work(holder) then
        passed_over = passed_over + 1
        left[#left + 1] = seq
        waited_for(holder, inbox)
      else
        bytes = bytes + (tonumber(string.match(lengths, '(%d+)$')) or 0)
        if #handed > 0 and bytes > room then
          full = true
          left[#left + 1] = seq
        else
          local attempts, replay = read_state(copy)
          attempts = attempts + 1
          own[thread] = (own[thread] or (holder == session and count or 0)) + 1
          if not notes[id] then ids[#ids + 1] = id end
          notes[id] = (notes[id] or '') .. note_of({ seq = seq, inbox = inbox, thread = thread, attempts = attempts,
            replay = replay, since = now, pull = pull })
          gone[#gone + 1] = seq
          handed[#handed + 1] = table.concat({ id, attempts, replay, lengths }, ':')
        end
      end
    end
  until full or short or passed_over == passed_before or passed_over >= MOST_PASSED_OVER
  if #ids > 0 then
    local at_threads = {}
    for thread, n in pairs(own) do
      at_threads[#at_threads + 1] = thread
      at_threads[#at_threads + 1] = session .. ':' .. n
    end
    call_many('HSET', h, at_threads)
    note(session, ids, notes)
    holds_something[session] = true
  end
  if fresh then
    wait_at(inbox, left)
  else
    call_many('ZREM', w, gone)
  end
  if passed_over >= MOST_PASSED_OVER and #handed == 0 then
    if not hidden then call('HSET', h, HIDDEN, '') end
  elseif hidden and #handed > 0 then
    -- What others could not see may have come into their view.
    call('HDEL', h, HIDDEN)
    wake_inbox(inbox)
  end
  if (full or not short) and #gone > 0 then return { MORE, handed } end
  -- Who only passed over is woken when the others let go, and who stopped short when they take.
  return { (full or not short or passed_over > 0) and OTHERS or NOTHING, handed }
end

-- Which of the pulls that stand in ARGV from `first` to `last` are revoked, in their order.
local function which_are_revoked(first, last)
  local names, revoked = {}, {}
  for i = first, last, PULL_FIELDS do names[#names + 1] = revoked_key(ARGV[i + 1]) end
  for n, text in ipairs(#names > 0 and call('MGET', unpack(names)) or {}) do
    local i = first + (n - 1) * PULL_FIELDS
    revoked[n] = is_revoked(text, ARGV[i + 4], ARGV[i + 5])
  end
  return revoked
end

-- What the pull that stands in ARGV from `i` on takes.
local function pull_at(i, fresh)
  return pick(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4] .. '-' .. ARGV[i + 5], fresh)
end
