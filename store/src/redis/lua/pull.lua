-- Pulls. Of each: inbox, session, how many, how many bytes, the process and the number of the pull.
local out = {}
for i = 4, #ARGV, 6 do
  local inbox, session, most, room = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local process, number = ARGV[i + 4], ARGV[i + 5]
  local handed, gone, ids, notes, bytes = {}, {}, {}, {}, 0
  local revoked = call('HMGET', base .. ':r:' .. session, process, '*')
  if tonumber(number) > (tonumber(revoked[1]) or 0) and not revoked[2] and most > 0 then
    end_delays(inbox)
    local w = inbox_key(inbox, 'w')
    for _, seq in ipairs(call('ZRANGE', w, 0, most - 1)) do
      local key = event_key(seq)
      local f = call('HMGET', key, 'i', 'e', 'c:' .. inbox)
      if not f[2] or not f[3] or string.sub(f[3], 1, 1) ~= 'w' then
        gone[#gone + 1] = seq
      else
        local attempts, replay = read_state(f[3])
        bytes = bytes + #f[2]
        if #handed > 0 and bytes > room then break end
        attempts = attempts + 1
        call('HSET', key, 'c:' .. inbox, state('h', attempts, replay, now, session .. ':' .. process .. '-' .. number))
        if not notes[f[1]] then ids[#ids + 1] = f[1] end
        notes[f[1]] = (notes[f[1]] or '') .. seq .. ':' .. inbox .. ';'
        gone[#gone + 1] = seq
        handed[#handed + 1] = { f[1], attempts, replay, f[2] }
      end
    end
    call_many('ZREM', w, gone)
    if #ids > 0 then
      -- The session may hold the same events through other inboxes.
      local known, fields = call('HMGET', session_key(session), unpack(ids)), {}
      for n, id in ipairs(ids) do
        fields[#fields + 1] = id
        fields[#fields + 1] = (known[n] or '') .. notes[id]
      end
      call_many('HSET', session_key(session), fields)
      add_held(inbox, #handed)
    end
  end
  out[#out + 1] = handed
end
write_holds()
return out
