-- Returns all that a session holds, in one step, so that nobody can take a later event before an earlier one is back.
-- ARGV: session, process, the highest number of its pulls, most attempts, reason, ids of events that it was never sent:
-- of these the attempt is refunded.
local session, most, reason = ARGV[4], tonumber(ARGV[7]), ARGV[8]
local unsent = {}
for n = 9, #ARGV do unsent[ARGV[n]] = true end
local returned, parked = 0, 0
for _, id in ipairs(call('HKEYS', session_key(session))) do
  for _, place in ipairs(held(session, id)) do
    local seq, inbox = place[1], place[2]
    local copy = held_copy(seq, inbox, session)
    if copy then
      returned = returned + 1
      if unsent[id] then
        ready(copy.key, seq, inbox, math.max(copy.attempts - 1, 0), copy.replay, '')
      elseif copy.attempts >= most then
        park(copy, seq, inbox, reason)
        parked = parked + 1
      else
        ready(copy.key, seq, inbox, copy.attempts, copy.replay, '')
      end
    end
  end
end
wake_waiting(session, call('HGET', session_key(session), WAITED))
call('UNLINK', session_key(session))
-- A pull that was sent before and arrives after this would be held by nobody who lives.
revoke(session, ARGV[5], ARGV[6])
write_sums()
write_holds()
publish()
return { returned, parked }
