-- Read the next entries of a consumer, no more bytes of them than fit in memory. XREADGROUP can only count entries.
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3 '>' for new entries, '0' for its pending ones  4 most entries
--       5 bytes: the entry that reaches them is the last
-- Returns entries as XREADGROUP does: {id, {name, value, …}}, or {id, nil} for a pending one that was deleted.
local entries, bytes, after = {}, 0, ARGV[3]
while #entries < tonumber(ARGV[4]) and bytes < tonumber(ARGV[5]) do
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], after)
  local entry = reply and reply[1][2][1]
  if not entry then
    break
  end
  entries[#entries + 1] = entry
  for _, text in ipairs(entry[2] or {}) do
    bytes = bytes + #text
  end
  if after ~= '>' then
    after = entry[1]
  end
end
return entries
