-- Pulls. Answers of each what is left in the inbox, and the copies: id, attempt, replay, and the lengths of head and JSON
-- in the payload. The JSON itself is as long as the last of them.
local FIRST = 5

end_what_is_due()
local out, revoked = {}, which_are_revoked(FIRST, #ARGV)
for i = FIRST, #ARGV, PULL_FIELDS do
  if ARGV[i + 2] == '0' or revoked[#out + 1] then
    out[#out + 1] = { OTHERS, {} }
  else
    out[#out + 1] = pull_at(i)
  end
end
publish()
return out
