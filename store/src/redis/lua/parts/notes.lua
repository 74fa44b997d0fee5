-- What a session holds of an event, as it notes it: of each copy the place, the inbox, the event's thread, the attempt,
-- whether it is a replay, since when, and by which pull. In the event itself the copy goes on as one that waits.
local function note_of(h)
  return table.concat({ h.seq, h.inbox, h.thread, h.attempts, h.replay, h.since, h.pull }, ':') .. ';'
end
local NOTE = '(%d+):(%x+):(%x*):(%d+):(%d):(%d+):([%x-]*);'
local function held_by(session, text)
  local found = {}
  for seq, inbox, thread, attempts, replay, since, pull in string.gmatch(text or '', NOTE) do
    found[#found + 1] = { session = session, seq = seq, inbox = inbox, thread = thread, attempts = tonumber(attempts),
      replay = replay, since = since, pull = pull }
  end
  return found
end
local function held(session, id) return held_by(session, call('HGET', session_key(session), id)) end

-- At which threads of an inbox which session is, and with how many copies: `session:count`.
local function holder_of(text)
  local session, n = string.match(text or '', '^(%x+):(%d+)$')
  return session, tonumber(n) or 0
end

-- Beside its events a session notes the inboxes in which others wait for it, because it holds earlier events of threads.
local WAITED = '*'
