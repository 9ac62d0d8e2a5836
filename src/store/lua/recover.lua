-- recover: starts a new store epoch. The only script that is sent as text (EVAL), because it is what makes the others
-- callable. ARGV: the epoch seen ('' = none), the run id of this Redis process. Returns the epoch that rules now.
-- Two control processes may try at once: only the first that still sees the old epoch bumps it.
local now = redis.call('HMGET', KEYS[1], 'store_epoch', 'run_id')
if (now[1] or '') ~= ARGV[1] or now[2] == ARGV[2] then return now[1] or '' end
local epoch = (tonumber(now[1]) or 0) + 1
redis.call('HSET', KEYS[1], 'store_epoch', epoch, 'run_id', ARGV[2])
return tostring(epoch)
