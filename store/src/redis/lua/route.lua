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

-- What undoes the changes so far, the last one first.
local undo = {}

-- Keeps a claim.
local function keep(name, note, before)
  call('SET', name, note, 'PX', claims_px)
  undo[#undo + 1] = before and { 'SET', name, before, 'PX', claims_px } or { 'DEL', name }
end

-- Claims the changes for an inbox; true if all were known there.
local function claim(inbox, rank, keys, all)
  if #all == 0 then return false end
  local prefix = base .. ':k:' .. inbox .. ':'
  local note = rank .. ':' .. claims_expire
  if #all == 1 then
    local known = call('SET', prefix .. all[1], note, 'PX', claims_px, 'NX', 'GET')
    if not known then
      undo[#undo + 1] = { 'DEL', prefix .. all[1] }
      return false
    end
    local before = claimed(known)
    if before and before >= rank then return true end
    keep(prefix .. all[1], note, known)
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
    keep(names[n], most .. ':' .. claims_expire, known[n])
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

-- Decisions, written at the end: place and text.
local decisions = {}

-- Puts an event into inboxes; gives how many it was left out of.
local function put(seq, change, decision, first, last)
  local key, rank, keys, all = event_key(seq), changes(change)
  local open, fields = 0, {}
  for n = first, last do
    local inbox, copy = ARGV[n], 'c'
    if not claim(inbox, rank, keys, all) then
      copy, open = 'w0:0:0:', open + 1
      wait_in(inbox, seq)
    end
    fields[#fields + 1] = 'c:' .. inbox
    fields[#fields + 1] = copy
  end
  -- How many copies are open; that it stands there says that the event was routed.
  fields[#fields + 1] = 'o'
  fields[#fields + 1] = open
  call_many('HSET', key, fields)
  local forget = { 'HDEL', key }
  for n = 1, #fields, 2 do forget[#forget + 1] = fields[n] end
  undo[#undo + 1] = forget
  decisions[#decisions + 1] = why_key(seq)
  decisions[#decisions + 1] = decision
  if open == 0 then add('pending', -(tonumber(call('HGET', key, 'b')) or 0)) end
  return last - first + 1 - open
end

local out, routed, left_out, at, queues, seen = {}, 0, 0, 6, {}, {}

local function route_all()
  while at <= #ARGV do
    local partition, epoch, routes = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    at = at + 3
    local newest = call('HGET', base, 'epoch:' .. partition) or '0'
    local ours = newest == epoch and epoch ~= '0'
    out[#out + 1] = ours and '' or newest
    local queue, gone = base .. ':q:' .. partition, {}
    for _ = 1, routes do
      local seq, decision, first = ARGV[at], ARGV[at + 1], at + 3
      at = first + tonumber(ARGV[at + 2])
      -- What was routed waits no more, and what waits elsewhere is of another partition.
      local waits_there = ours and call('ZRANGEBYSCORE', queue, seq, seq)[1]
      if waits_there and not seen[waits_there] then
        local change = string.match(waits_there, '^%x+:%d+:[%d/]+:(.*)$') or ''
        left_out = left_out + put(seq, change, decision, first, at - 1)
        routed = routed + 1
        gone[#gone + 1] = waits_there
        seen[waits_there] = true
      end
    end
    queues[#queues + 1] = { queue, gone }
  end
  for inbox, places in pairs(waits) do
    local key, back = inbox_key(inbox, 'w'), { 'ZREM', inbox_key(inbox, 'w') }
    call_many('ZADD', key, places)
    for n = 1, #places, 2 do back[#back + 1] = places[n] end
    undo[#undo + 1] = back
  end
  call_pairs('MSET', decisions)
  -- Nothing can fail from here on: these keys were read above, and are of their type.
  for _, of in ipairs(queues) do call_many('ZREM', of[1], of[2]) end
end

-- A key of ours that is of another type fails in the middle. Nothing may remain then: an event with a decision that is in
-- no inbox would be nobody's.
local done, failure = pcall(route_all)
if not done then
  for n = #undo, 1, -1 do
    local command = undo[n]
    for first = 3, math.max(#command, 3), 1000 do
      redis.pcall(command[1], command[2], unpack(command, first, math.min(first + 999, #command)))
    end
  end
  if type(failure) == 'table' then return failure end
  return redis.error_reply(tostring(failure))
end
write_sums()
publish()
return { out, routed, left_out }
