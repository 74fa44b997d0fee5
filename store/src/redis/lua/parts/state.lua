-- A copy's state as text: its letter, attempts, replay mark, time, and the rest.
local function state(letter, attempts, replay, time, rest)
  return letter .. attempts .. ':' .. replay .. ':' .. time .. ':' .. rest
end
local function read_state(text)
  local attempts, replay, time, rest = string.match(text, '^.(%d+):(%d):(%-?%d+):(.*)$')
  return tonumber(attempts), replay, time, rest
end
