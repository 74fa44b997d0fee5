-- Acknowledgements. Of each: session, how many events, their ids.
local out, at = {}, 4
while at <= #ARGV do
  local session, from, to = ARGV[at], at + 2, at + 1 + tonumber(ARGV[at + 1])
  local done, over = 0, {}
  for first = from, to, 1000 do
    local notes = call('HMGET', session_key(session), unpack(ARGV, first, math.min(first + 999, to)))
    for n, text in ipairs(notes) do
      local places = places_of(text)
      for _, place in ipairs(places) do
        local seq, inbox = place[1], place[2]
        local copy = held_copy(seq, inbox, session)
        if copy then
          local o = count(copy.f, -1, 0)
          local rest = now .. ':' .. session
          call('HSET', copy.key, 'c:' .. inbox, state('d', copy.attempts, copy.replay, copy.since, rest), 'o', o)
          done = done + 1
        end
      end
      if #places > 0 then over[#over + 1] = ARGV[first + n - 1] end
    end
  end
  call_many('HDEL', session_key(session), over)
  at = to + 1
  out[#out + 1] = done
end
write_sums()
write_holds()
return out
