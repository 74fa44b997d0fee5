-- Ends the delays of a tenant that are over, and tells the counter of wake-ups.
end_due('-inf', now)
end_due(PAST_LONGEST, '+inf')
publish()
return tonumber(call('HGET', base, 'wakes')) or 0
