-- Ends the delays of a tenant that are over, and tells the counter of wake-ups.
local due = base .. ':due'
local inboxes = call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, 200)
for _, inbox in ipairs(call('ZRANGEBYSCORE', due, '(' .. string.format('%.0f', now_n + LONGEST), '+inf', 'LIMIT', 0, 200)) do
  inboxes[#inboxes + 1] = inbox
end
for _, inbox in ipairs(inboxes) do
  if end_delays(inbox) then wake_inbox(inbox) end
end
publish()
return tonumber(call('HGET', base, 'wakes')) or 0
