-- recover: starts a new store epoch. The only script that is sent as text (EVAL), because it is what makes the others
-- callable. ARGV: the epoch seen ('' = none), the run id of this Redis process, the epoch that the caller knew until now
-- ('' = none). Returns the epoch that rules now. Two control processes may try at once: only the first that still sees
-- the old epoch begins another.
-- The new epoch is the present in ms, or one more than any that is known where the clock is behind. A count that stands
-- in Redis alone would begin again with a Redis that was emptied or set back, and give out epochs and tokens of before:
-- whoever went on running would not be fenced.
local now = redis.call('HMGET', KEYS[1], 'store_epoch', 'run_id')
if (now[1] or '') ~= ARGV[1] or now[2] == ARGV[2] then return now[1] or '' end
local t = redis.call('TIME')
local epoch = math.max(t[1] * 1000 + math.floor(t[2] / 1000), (tonumber(now[1]) or 0) + 1, (tonumber(ARGV[3]) or 0) + 1)
epoch = string.format('%.0f', epoch)
redis.call('HSET', KEYS[1], 'store_epoch', epoch, 'run_id', ARGV[2])
return epoch
