-- Deliver one record to a stream, once. Atomic, and nothing is written before the command that may fail (XADD).
-- KEYS  1 checkpoints of the topic (hash: partition -> offset)  2 stream  3 seen results (hash)
-- ARGV  1 partition  2 offset  3 previous offset, which must have been delivered before this one
--       4 field in the seen hash, '' for no check  5 seconds the seen hash lives on
--       6... the entry's names and values; none: only advance the checkpoint
-- Returns 'out', 'seen' or 'advanced'; 'skipped' when the checkpoint is there already;
-- 'behind' when Redis does not have the previous record (any more): the caller must go back to the checkpoint.
local offset = tonumber(ARGV[2])
local checkpoint = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-1')
if offset <= checkpoint then
  return 'skipped'
end
if checkpoint < tonumber(ARGV[3]) then
  return 'behind'
end

local outcome = 'advanced'
if #ARGV > 5 then
  local known = ARGV[4] ~= '' and redis.call('HEXISTS', KEYS[3], ARGV[4]) == 1
  outcome = known and 'seen' or 'out'
  if not known then
    redis.call('XADD', KEYS[2], '*', unpack(ARGV, 6))
  end
  if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[3], ARGV[4], '')
    redis.call('EXPIRE', KEYS[3], ARGV[5])
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return outcome
