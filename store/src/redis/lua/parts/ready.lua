-- Puts a copy where it waits, to be handed out again at once.
local function ready(seq, inbox, attempts, replay, reason)
  call('ZADD', inbox_key(inbox, 'w'), seq, seq)
  call('HSET', event_key(seq), 'c:' .. inbox, state('w', attempts, replay, '0', reason))
  wake_inbox(inbox)
end
