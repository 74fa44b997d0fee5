-- Returns copies with their attempt refunded. ARGV: session, process, the highest number and the numbers of pulls whose
-- answers reached nobody.
local session, process = ARGV[4], ARGV[5]
local wanted = {}
revoke(session, process, ARGV[6])
for n = 7, #ARGV do wanted[process .. '-' .. ARGV[n]] = true end
local returned, waiting = 0, call('HGET', session_key(session), WAITED)
for _, id in ipairs(call('HKEYS', session_key(session))) do
  local left, copies = {}, held(session, id)
  for _, h in ipairs(copies) do
    if not wanted[h.pull] then
      left[#left + 1] = note_of(h)
    elseif let_go(h) then
      ready(h.seq, h.inbox, h.attempts - 1, h.replay, '')
      returned = returned + 1
    end
  end
  if #copies > 0 and #left == 0 then
    call('HDEL', session_key(session), id)
  elseif #left < #copies then
    call('HSET', session_key(session), id, table.concat(left))
  end
end
wake_waiting(session, waiting)
write_freed()
publish()
return returned
