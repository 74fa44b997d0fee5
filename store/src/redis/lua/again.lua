-- Replay, and dead letters that wait again or are given up. ARGV: `replay`, `requeue` or `drop`; how many inboxes,
-- inboxes, ids.
local what, inboxes, last = ARGV[4], {}, 5 + tonumber(ARGV[5])
for n = 6, last do inboxes[#inboxes + 1] = ARGV[n] end
local function recount(key, f, open, dead)
  local o, x = count(f, open, dead)
  call('HSET', key, 'o', o, 'x', x)
end
local changed = 0
for n = last + 1, #ARGV do
  local seq = call('HGET', base .. ':ids', ARGV[n])
  for _, inbox in ipairs(seq and inboxes or {}) do
    local key, field = event_key(seq), 'c:' .. inbox
    local f = call('HMGET', key, 'o', 'x', 'b', field)
    local letter = f[4] and string.sub(f[4], 1, 1) or ''
    local dead = letter == 'x'
    if what == 'replay' and f[1] and letter ~= 'w' then
      ready(seq, inbox, 0, 1, '')
      recount(key, f, 1, dead and -1 or 0)
      changed = changed + 1
    elseif what ~= 'replay' and dead then
      local attempts, replay, _, reason = read_state(f[4])
      if what == 'requeue' then
        ready(seq, inbox, 0, replay, '')
        recount(key, f, 1, -1)
      else
        call('HSET', key, field, state('g', attempts, replay, now, reason))
        recount(key, f, 0, -1)
      end
      changed = changed + 1
    end
    if dead and (what ~= 'replay' or f[1]) then unpark(seq, inbox) end
  end
end
write_sums()
publish()
return changed
