-- Pulls. Of each: inbox, session, how many, how many bytes, the process and the number of the pull; before them: how
-- many places a pull passes over at most.
local MOST_PASSED_OVER = tonumber(ARGV[4])

-- The threads of which other sessions hold an event of this inbox, with the session; nil if there are none.
local function threads_of_others(inbox, session)
  local threads = nil
  for _, other in ipairs(call('HKEYS', inbox_key(inbox, 'h'))) do
    if other ~= session then
      for _, text in ipairs(call('HVALS', session_key(other))) do
        for _, place in ipairs(places_of(text)) do
          if place[2] == inbox and place[3] ~= '' then
            threads = threads or {}
            threads[place[3]] = other
          end
        end
      end
    end
  end
  return threads
end

-- Chooses what to hand out: the first that wait, without the threads that others are at.
local function pick(inbox, session, most, room, pull)
  local handed, gone, ids, notes, bytes = {}, {}, {}, {}, 0
  local w, at, passed_over, full, others = inbox_key(inbox, 'w'), 0, 0, false, nil
  repeat
    local passed_before = passed_over
    local places = call('ZRANGE', w, at, at + math.max(most, at > 0 and 64 or 0) - 1)
    if #places > 0 and at == 0 then others = threads_of_others(inbox, session) end
    at = at + #places
    for _, seq in ipairs(places) do
      if #handed >= most then
        full = true
        break
      end
      local key = event_key(seq)
      -- The payload of one that is passed over is not read.
      local f = call('HMGET', key, 'i', 'g', 'c:' .. inbox, others and 'b' or 'e')
      if not f[4] or not f[3] or string.sub(f[3], 1, 1) ~= 'w' then
        gone[#gone + 1] = seq
      elseif others and others[f[2]] then
        passed_over = passed_over + 1
        waited_for(others[f[2]], inbox)
      else
        local event = f[4]
        if others and event then event = call('HGET', key, 'e') end
        local attempts, replay = read_state(f[3])
        bytes = bytes + #event
        if #handed > 0 and bytes > room then
          full = true
          break
        end
        attempts = attempts + 1
        call('HSET', key, 'c:' .. inbox, state('h', attempts, replay, now, session .. ':' .. pull))
        if not notes[f[1]] then ids[#ids + 1] = f[1] end
        notes[f[1]] = (notes[f[1]] or '') .. note_of(seq, inbox, f[2] or '')
        gone[#gone + 1] = seq
        handed[#handed + 1] = { f[1], attempts, replay, event }
      end
    end
  until full or passed_over == passed_before or passed_over >= MOST_PASSED_OVER
  call_many('ZREM', w, gone)
  if #ids > 0 then
    -- The session may hold the same events through other inboxes.
    local known, fields = call('HMGET', session_key(session), unpack(ids)), {}
    for n, id in ipairs(ids) do
      fields[#fields + 1] = id
      fields[#fields + 1] = (known[n] or '') .. notes[id]
    end
    call_many('HSET', session_key(session), fields)
    add_held(inbox, session, #handed)
    -- The next pull of this call may be another session's of the same inbox.
    write_holds()
  end
  return handed
end

local out = {}
for i = 5, #ARGV, 6 do
  local inbox, session, most, room = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local process, number = ARGV[i + 4], ARGV[i + 5]
  local revoked, handed = call('HMGET', base .. ':r:' .. session, process, '*'), {}
  if tonumber(number) > (tonumber(revoked[1]) or 0) and not revoked[2] and most > 0 then
    end_delays(inbox)
    handed = pick(inbox, session, most, room, process .. '-' .. number)
  end
  out[#out + 1] = handed
end
return out
