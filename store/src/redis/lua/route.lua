-- Routes, and hands out what came to whom offered to take it. ARGV, after that of handing out: PX and time of expiry of
-- claims; then calls: partition, epoch, numbers of routes and of offers; of each route place, decision, number of inboxes,
-- inboxes; and of each offer what a pull has. Answers of each offer what a pull is answered, or nothing if that failed.
local claims_px, claims_expire = ARGV[5], ARGV[6]

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

-- A command with many arguments and no key before them, in portions that Lua can unpack.
local function call_pairs(command, args)
  for first = 1, #args, 1000 do call(command, unpack(args, first, math.min(first + 999, #args))) end
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

-- What comes into each inbox, written at the end: places.
local waits = {}
local function wait_in(inbox, seq)
  local places = waits[inbox] or {}
  waits[inbox] = places
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

-- Offers as they come: where each stands in ARGV, and whether it may take something.
local offers, offered = {}, {}
local function note_offers(first, last, ours)
  local revoked = ours and which_are_revoked(first, last) or {}
  for i = first, last, PULL_FIELDS do
    local open = ours and not revoked[(i - first) / PULL_FIELDS + 1]
    offers[#offers + 1] = { at = i, open = open }
    if open then offered[ARGV[i]] = true end
  end
end

-- Members of a queue from one place to another, by place.
local function queued(queue, first, last)
  local found, list = {}, call('ZRANGEBYSCORE', queue, first, last, 'WITHSCORES')
  for n = 1, #list, 2 do found[list[n + 1]] = list[n] end
  return found
end

local out, routed, left_out, at, queues, seen, fresh = {}, 0, 0, 7, {}, {}, {}
-- What a queue tells of the events that are routed, by place: id, lengths and thread.
local known = {}

-- Routes of one partition, from `at` on.
local function route_some(partition, count)
  local queue, gone, first, last = base .. ':q:' .. partition, {}, nil, nil
  local places, next_at = {}, at
  for n = 1, count do
    local seq = ARGV[next_at]
    places[n] = seq
    if not first or tonumber(seq) < tonumber(first) then first = seq end
    if not last or tonumber(seq) > tonumber(last) then last = seq end
    next_at = next_at + 3 + tonumber(ARGV[next_at + 2])
  end
  local there = count > 0 and queued(queue, first, last) or {}
  for _, seq in ipairs(places) do
    local decision, of = ARGV[at + 1], at + 3
    at = of + tonumber(ARGV[at + 2])
    -- What was routed waits no more, and what waits elsewhere is of another partition.
    local member = there[seq]
    if member and not seen[member] then
      -- One that was queued by an earlier version tells no thread.
      local id, lengths, thread, change = string.match(member, '^(%x+):(%d+:[%d/]+)@?(%x*):(.*)$')
      known[seq] = { id, lengths, thread }
      left_out = left_out + put(seq, change or '', decision, of, at - 1)
      routed = routed + 1
      gone[#gone + 1] = member
      seen[member] = true
    end
  end
  queues[#queues + 1] = { queue, gone }
end

-- Passes over routes that are not ours to make.
local function skip_some(count)
  for _ = 1, count do at = at + 3 + tonumber(ARGV[at + 2]) end
end

-- What came, as a pull sees it: in order of place, each event with id, thread, lengths and the state of its copy. Nothing if
-- one of them is not known, which a pull may know what to do with.
local function as_waiting(places)
  table.sort(places, function(a, b) return tonumber(a) < tonumber(b) end)
  local events = {}
  for n, seq in ipairs(places) do
    local id, lengths, thread = unpack(known[seq], 1, 3)
    if not id or not lengths or thread == '' then return nil end
    events[n] = { id, thread, lengths, 'w0:0:0:' }
  end
  return { places = places, events = events }
end

local function route_all()
  while at <= #ARGV do
    local partition, epoch, routes, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    at = at + 4
    local newest = call('HGET', base, 'epoch:' .. partition) or '0'
    local ours = newest == epoch and epoch ~= '0'
    out[#out + 1] = ours and '' or newest
    if ours then route_some(partition, routes) else skip_some(routes) end
    note_offers(at, at + count * PULL_FIELDS - 1, ours)
    at = at + count * PULL_FIELDS
  end
  if #offers > 0 and not pcall(end_what_is_due) then
    -- It is before what came, so nothing is handed out; whoever pulls is told why.
    offered = {}
    for _, offer in ipairs(offers) do offer.open = false end
  end
  local at_offers = {}
  for inbox in pairs(waits) do
    if offered[inbox] then at_offers[#at_offers + 1] = inbox_key(inbox, 'w') end
  end
  -- As a rule nothing waits in any of them, and this is the only question.
  local filled = #at_offers > 0 and call('EXISTS', unpack(at_offers)) or 0
  for inbox, places in pairs(waits) do
    local empty = offered[inbox] and (filled == 0 or filled < #at_offers and call('EXISTS', inbox_key(inbox, 'w')) == 0)
    fresh[inbox] = empty and as_waiting(places) or nil
    if not fresh[inbox] then
      wait_at(inbox, places)
      local back = { 'ZREM', inbox_key(inbox, 'w') }
      for _, seq in ipairs(places) do back[#back + 1] = seq end
      undo[#undo + 1] = back
    end
  end
  call_pairs('MSET', decisions)
  -- Nothing can fail from here on: these keys were read above, and are of their type.
  for _, of in ipairs(queues) do call_many('ZREM', of[1], of[2]) end
end

-- Hands out, now that everything is routed. What fails leaves what came where it waits.
local function hand_out(offer)
  local inbox = ARGV[offer.at]
  if not offer.open then return { OTHERS, {} } end
  local came = fresh[inbox]
  fresh[inbox] = nil
  local done, answer = pcall(pull_at, offer.at, came)
  if not done then
    if came then wait_at(inbox, came.places) end
    return {}
  end
  -- Of an inbox that is empty nobody is told.
  if answer[1] == NOTHING then topics['i' .. inbox] = nil end
  return answer
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
  -- Delays may have ended.
  pcall(publish)
  if type(failure) == 'table' then return failure end
  return redis.error_reply(tostring(failure))
end
local answers = {}
for n, offer in ipairs(offers) do answers[n] = hand_out(offer) end
write_sums()
publish()
return { out, routed, left_out, answers }
