-- Returns what a session is noted to hold and does not have: the acknowledgement was lost with other writes. ARGV: session,
-- most attempts, ids of what it has.
local session, most, has, returned = ARGV[4], tonumber(ARGV[5]), { [WAITED] = true }, 0
for n = 6, #ARGV do has[ARGV[n]] = true end
local waiting = call('HGET', session_key(session), WAITED)
for _, id in ipairs(call('HKEYS', session_key(session))) do
  if not has[id] then
    for _, place in ipairs(held(session, id)) do
      local copy = held_copy(place[1], place[2], session)
      if copy then
        -- It was done with most likely: it is handed out once more, and not parked.
        ready(copy.key, place[1], place[2], math.min(copy.attempts, most - 1), copy.replay, '')
        returned = returned + 1
      end
    end
    call('HDEL', session_key(session), id)
  end
end
if returned > 0 then wake_waiting(session, waiting) end
write_holds()
publish()
return returned
