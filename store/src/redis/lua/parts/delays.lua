-- Puts places into an inbox, where they wait.
local function wait_at(inbox, places)
  local pairs_of = {}
  for _, seq in ipairs(places) do
    pairs_of[#pairs_of + 1] = seq
    pairs_of[#pairs_of + 1] = seq
  end
  call_many('ZADD', inbox_key(inbox, 'w'), pairs_of)
end

-- Keeps the time at which the first delay of an inbox ends.
local function note_due(inbox)
  local first = call('ZRANGE', inbox_key(inbox, 't'), 0, 0, 'WITHSCORES')
  if first[1] then call('ZADD', base .. ':due', first[2], inbox) else call('ZREM', base .. ':due', inbox) end
end

-- Ends the delays of an inbox that are over, some at a time; one that is longer than an hour is of a clock that went back.
local ENDED_AT_ONCE = 1000
local PAST_LONGEST = '(' .. string.format('%.0f', now_n + 3600 * 1000000)
local function end_delays(inbox)
  local t = inbox_key(inbox, 't')
  local ended = call('ZRANGEBYSCORE', t, '-inf', now, 'LIMIT', 0, ENDED_AT_ONCE)
  for _, seq in ipairs(call('ZRANGEBYSCORE', t, PAST_LONGEST, '+inf', 'LIMIT', 0, ENDED_AT_ONCE)) do
    ended[#ended + 1] = seq
  end
  -- First where it goes to, then where it comes from: whatever fails in between loses nothing.
  wait_at(inbox, ended)
  call_many('ZREM', t, ended)
  note_due(inbox)
  return #ended > 0
end

-- The same in all inboxes of which the first delay ends between two times, some at a time.
local function end_due(from, to)
  for _, inbox in ipairs(call('ZRANGEBYSCORE', base .. ':due', from, to, 'LIMIT', 0, 200)) do
    if end_delays(inbox) then wake_inbox(inbox) end
  end
end
