-- The stops that gateways hold. The key is a hash: of each policy's uid `<generation> <what is told>`, and `version`,
-- which every change moves, past all that ever were: the time keeps one from coming again after all keys were lost.
-- ARGV: what is asked, the most stops, the most bytes of one and of an answer, and more.
local what, most = ARGV[4], tonumber(ARGV[5])
local VERSION, LONGEST_UID = 'version', 253
local version = call('HGET', base, VERSION) or ''
local function generation(value) return tonumber(string.match(value or '', '^(%d+) ')) end
local function changed()
  local moved = string.format('%.0f', math.max((tonumber(version) or 0) + 1, now_n))
  call('HSET', base, VERSION, moved)
  call('PUBLISH', channel, 'stops\n' .. moved)
end

if what == 'read' then
  local longest, room, known = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
  if version == known then return { version } end
  local count = call('HLEN', base)
  -- More than gateways put there are of somebody else; which of them are read is all one.
  local fields = count > most + 1 and call('HRANDFIELD', base, most) or call('HKEYS', base)
  local answer = { version, math.max(count - #fields, 0) }
  for _, field in ipairs(fields) do
    if field ~= VERSION then
      local length = call('HSTRLEN', base, field) + #field
      local fits = #field <= LONGEST_UID and length <= longest and length <= room
      answer[#answer + 1] = string.sub(field, 1, LONGEST_UID)
      answer[#answer + 1] = fits and call('HGET', base, field) or ''
      if fits then room = room - length end
    end
  end
  return answer
end

local uid, own = ARGV[6], tonumber(ARGV[7])
local value = call('HGET', base, uid)
local there = generation(value)
if what == 'tell' then
  local told = ARGV[7] .. ' ' .. ARGV[8]
  -- Of the same generation only who has read what stands there may say more.
  if there and (there > own or there == own and version ~= ARGV[9]) then return 'read first' end
  if value == told then return 'told' end
  if not value and call('HLEN', base) > most then return 'full' end
  call('HSET', base, uid, told)
  changed()
  return 'told'
elseif what == 'forget' then
  if not there or there > own then return 0 end
  call('HDEL', base, uid)
  changed()
  return 1
end
