-- Returns all that a session holds, in one step, so that nobody can take a later event before an earlier one is back.
-- ARGV: session, process, the highest number of its pulls, most attempts, reason, ids of events that it was never sent:
-- of these the attempt is refunded.
local session, most, reason = ARGV[4], tonumber(ARGV[7]), ARGV[8]
local unsent = {}
for n = 9, #ARGV do unsent[ARGV[n]] = true end
local returned, parked, fields = 0, 0, call('HGETALL', session_key(session))
for n = 1, #fields, 2 do
  local id = fields[n]
  for _, h in ipairs(id == WAITED and {} or held_by(session, fields[n + 1])) do
    if let_go(h) then
      returned = returned + 1
      if unsent[id] then
        ready(h.seq, h.inbox, h.attempts - 1, h.replay, '')
      elseif h.attempts >= most then
        park(h, reason)
        parked = parked + 1
      else
        ready(h.seq, h.inbox, h.attempts, h.replay, '')
      end
    end
  end
end
wake_waiting(session, call('HGET', session_key(session), WAITED))
-- A pull that was sent before and arrives after this would be held by nobody who lives.
revoke(session, ARGV[5], ARGV[6])
write_sums()
write_freed()
call('UNLINK', session_key(session))
publish()
return { returned, parked }
