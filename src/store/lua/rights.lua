-- rights: what the Redis user that we are may not do of all that the scripts and the processes do. Sent as text (EVAL),
-- before anything is written: a script that meets the first refusal half-way leaves what it wrote before it, and Redis
-- does not undo that. Changes nothing. Returns the first command that is refused, with its key or channel, or ''.
-- tests/integration/test_redis_security.py compares what is asked for with what the sources use.
local P = KEYS[1]:sub(1, -5) -- without 'meta'
local WANTED = {
  DEL = {'job:x'}, EXISTS = {'tombstones'}, GET = {'spec:x'}, MGET = {'spec:x'}, MSET = {'spec:x', 'v'}, SET = {'lease:relay', 'v'},
  PEXPIRE = {'worker:x', '1'},
  HDEL = {'job:x', 'f'}, HEXISTS = {'policy', 'f'}, HGET = {'job:x', 'f'}, HGETALL = {'job:x'}, HINCRBY = {'counts', 'f', '1'},
  HKEYS = {'policy'}, HMGET = {'meta', 'f'}, HSET = {'job:x', 'f', 'v'},
  SADD = {'workers', 'm'}, SMEMBERS = {'workers'}, SRANDMEMBER = {'parked_tenants', '1'}, SREM = {'workers', 'm'},
  ZADD = {'timers', '1', 'm'}, ZCARD = {'timers'}, ZCOUNT = {'timers', '0', '0'}, ZPOPMIN = {'ready:x', '1'}, ZRANGE = {'timers', '0', '0'},
  ZRANGEBYSCORE = {'timers', '0', '0'}, ZREM = {'timers', 'm'}, ZSCORE = {'timers', 'm'},
  XADD = {'outbox', '*', 'f', 'v'}, XLEN = {'outbox'}, XTRIM = {'outbox', 'MAXLEN', '0'},
  PUBLISH = {'wake', 'm'}, SUBSCRIBE = {'wake:x'},
}
local function refused(...) return not redis.acl_check_cmd(...) end

-- In one order, so that of several missing rights the same is told each time.
local names = {}
for name in pairs(WANTED) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  local args = WANTED[name]
  if refused(name, P .. args[1], unpack(args, 2)) then return name .. ' ' .. P .. args[1] end
end
for _, command in ipairs({{'TIME'}, {'MULTI'}, {'EXEC'}, {'SCRIPT', 'LOAD', ''}, {'EVALSHA', '', '1', P .. 'meta'},
                          {'XREAD', 'STREAMS', P .. 'outbox', '0'}}) do
  if refused(unpack(command)) then return command[1] .. (command[1] == 'SCRIPT' and ' LOAD' or '') end
end
return ''
