-- Trim a stream towards a length, but nothing that a consumer group has still to read or to acknowledge. Atomic.
-- KEYS  1 stream
-- ARGV  1 length to keep  2 most entries to remove in this call  3 '1' to remove what is unread too
-- Returns how many entries were removed, how many beyond the length stay because they are unread, and the group
-- they wait for: '' for none, which counts as everything unread.
local excess = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[1])
if excess <= 0 then
  return {0, 0, ''}
end

-- Decimal numbers of up to 64 bits: too large for Lua's.
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local function before(one, other)
  local ms, seq = one:match('(%d+)-(%d+)')
  local other_ms, other_seq = other:match('(%d+)-(%d+)')
  if ms ~= other_ms then return less(ms, other_ms) end
  return less(seq, other_seq)
end

-- Every group has read and acknowledged what is before `floor`, and the entry itself unless `read_to` says not.
local last = '18446744073709551615-18446744073709551615'
local floor, read_to, waits_for = last, last, ''
if ARGV[3] ~= '1' then
  for _, reply in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = {}
    for i = 1, #reply, 2 do group[reply[i]] = reply[i + 1] end
    local id = group['last-delivered-id']
    local to = id
    if group['pending'] > 0 then
      local oldest = redis.call('XPENDING', KEYS[1], group['name'])[2]
      if not before(id, oldest) then
        id, to = oldest, '(' .. oldest
      end
    end
    if before(id, floor) or id == floor and to ~= id then
      floor, read_to, waits_for = id, to, group['name']
    end
  end
  if floor == last or floor == '0-0' then
    return {0, excess, waits_for}
  end
end

-- With `~` only whole nodes go, never more entries than LIMIT: neither below the length nor beyond the floor.
local limit = math.min(excess, tonumber(ARGV[2]))
local removed = redis.call('XTRIM', KEYS[1], 'MINID', '~', floor, 'LIMIT', limit)
local rest = limit - removed
-- Either the limit or the floor is in the node that is now the first, so this reads a part of a node.
local read = rest > 0 and #redis.call('XRANGE', KEYS[1], '-', read_to, 'COUNT', rest) or 0
if read == rest then
  return {removed, 0, ''}
end
return {removed, excess - removed - read, waits_for}
