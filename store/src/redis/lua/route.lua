-- Routes. ARGV: PX and time of expiry of claims; then calls: partition, epoch, number of routes, and of each route:
-- place, decision, number of inboxes, inboxes.
local claims_px, claims_expire = ARGV[4], ARGV[5]

-- The changes that an event tells of and covers, and how much it says: a digit, then `k` or `c` with length and text.
local function changes(text)
  local keys, all, at = {}, {}, 2
  while at <= #text do
    local colon = string.find(text, ':', at, true)
    local len = tonumber(string.sub(text, at + 1, colon - 1))
    local change = string.sub(text, colon + 1, colon + len)
    if string.sub(text, at, at) == 'k' then keys[change] = true end
    all[#all + 1] = change
    at = colon + len + 1
  end
  return string.sub(text, 1, 1), keys, all
end

-- The rank under which a change was claimed; nil if it was not, or it has expired.
local function claimed(note)
  if note and tonumber(string.sub(note, 3)) > now_n then return string.sub(note, 1, 1) end
  return nil
end

-- Claims the changes for an inbox; true if all were known there.
local function claim(inbox, rank, keys, all)
  local prefix = base .. ':k:' .. inbox .. ':'
  local note = rank .. ':' .. claims_expire
  if #all == 1 then
    local known = call('SET', prefix .. all[1], note, 'PX', claims_px, 'NX', 'GET')
    if not known then return false end
    local before = claimed(known)
    if before and before >= rank then return true end
    call('SET', prefix .. all[1], note, 'PX', claims_px)
    return false
  end
  local names = {}
  for n, change in ipairs(all) do names[n] = prefix .. change end
  local known, coalesced = call('MGET', unpack(names)), true
  for n, change in ipairs(all) do
    local before = claimed(known[n])
    if keys[change] and not (before and before >= rank) then coalesced = false end
  end
  if coalesced then return true end
  for n in ipairs(all) do
    local before = claimed(known[n])
    local most = (before and before > rank) and before or rank
    call('SET', names[n], most .. ':' .. claims_expire, 'PX', claims_px)
  end
  return false
end

-- What comes into each inbox, written at the end.
local waits = {}
local function wait_in(inbox, seq)
  local places = waits[inbox] or {}
  waits[inbox] = places
  places[#places + 1] = seq
  places[#places + 1] = seq
  wake_inbox(inbox)
end

-- Puts an event into inboxes; gives how many it was left out of.
local function put(key, seq, f, decision, first, last)
  local rank, keys, all = changes(f[1])
  local open, fields = 0, { 'd', decision }
  for n = first, last do
    local inbox, copy = ARGV[n], 'c'
    if not claim(inbox, rank, keys, all) then
      copy, open = 'w0:0:0:', open + 1
      wait_in(inbox, seq)
    end
    fields[#fields + 1] = 'c:' .. inbox
    fields[#fields + 1] = copy
  end
  fields[#fields + 1] = 'o'
  fields[#fields + 1] = open
  call_many('HSET', key, fields)
  if open == 0 then add('pending', -(tonumber(f[2]) or 0)) end
  return last - first + 1 - open
end

local out, routed, left_out, at = {}, 0, 0, 6
while at <= #ARGV do
  local partition, epoch, routes = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local newest = call('HGET', base, 'epoch:' .. partition) or '0'
  local ours = newest == epoch and epoch ~= '0'
  out[#out + 1] = ours and '' or newest
  local gone = {}
  for _ = 1, routes do
    local seq, decision, first = ARGV[at], ARGV[at + 1], at + 3
    at = first + tonumber(ARGV[at + 2])
    if ours then
      local key = event_key(seq)
      local f = call('HMGET', key, 'k', 'b', 'p', 'd')
      if f[1] and f[3] == partition then
        -- What was routed has a decision.
        if not f[4] then
          left_out = left_out + put(key, seq, f, decision, first, at - 1)
          routed = routed + 1
        end
        gone[#gone + 1] = seq
      end
    end
  end
  call_many('ZREM', base .. ':q:' .. partition, gone)
end
for inbox, places in pairs(waits) do call_many('ZADD', inbox_key(inbox, 'w'), places) end
write_sums()
publish()
return { out, routed, left_out }
