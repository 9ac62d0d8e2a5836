-- ingest: a batch of commands from Kafka, and the offsets up to which they are dealt with, in one step.
-- ARGV: for each command: kind ('C', 'X', 'M', 'R'), topic, partition, offset, job_id, traceparent, key ('' = none, else '=' and the
-- key), raw bytes, their number before they were cut, and by kind
--   C: model, model_version, priority, max_attempts, timeout_ms, queue_timeout_ms, not_before, backoff_ms, backoff_max_ms,
--      signature, spec, number of labels, then name and value of each
--   X: reason
--   M: model or '*', mode ('' = open), reason
--   R: error code, error envelope
-- Returns a verdict per command: 0 accepted, 1 duplicate, 2 rejected, 3 noted.
local ACCEPTED, DUPLICATE, REJECTED, NOTED = 0, 1, 2, 3

local function reject(c, code, envelope)
  emit({ id = c.id, to = 'rejected', reason = code, traceparent = c.traceparent, topic = c.topic, partition = c.partition,
    offset = c.offset, doc = envelope, key = c.key, raw = c.raw, raw_size = c.raw_size })
  return REJECTED
end

-- A job exists if and only if its spec does; SPECS has those of the jobs that this batch names.
local SPECS = {}

-- What the policy says about a field, asked once a batch.
local POLICY = {}
local function policy(field)
  if POLICY[field] == nil then POLICY[field] = call('HGET', P .. 'policy', field) end
  return POLICY[field]
end

local function create(c, tombstones)
  local spec = SPECS[c.id]
  if spec then
    if spec == c.spec then return DUPLICATE end
    return reject(c, 'job_conflict', ERRORS.job_conflict)
  end
  if policy('mode:' .. c.model) == 'draining' then return reject(c, 'draining', ERRORS.draining) end
  SPECS[c.id] = c.spec
  local not_before = tonumber(c.not_before)
  local delayed = not_before > NOW
  local job = { id = c.id, seq = 0, model = c.model, priority = c.priority, attempt = '1', crashes = '0', lease_until = 0,
    traceparent = c.traceparent, queued_at = NOW, not_before = delayed and not_before or 0,
    queue_timeout_ms = tonumber(c.queue_timeout_ms), tenant = c.labels[policy('tenant_label')] }
  local cancelled = tombstones and call('ZSCORE', P .. 'tombstones', c.id)
  local set = { 'model', c.model, 'priority', c.priority, 'attempt', '1', 'max_attempts', c.max_attempts, 'crashes', '0',
    'created_at', NOW_TEXT, 'timeout_ms', c.timeout_ms, 'queue_timeout_ms', c.queue_timeout_ms }
  local function put(name, value) set[#set + 1], set[#set + 2] = name, value end
  if c.model_version ~= '' then put('model_version', c.model_version) end
  if c.traceparent ~= '' then put('traceparent', c.traceparent) end
  if c.backoff_ms ~= '0' then put('backoff_ms', c.backoff_ms) end
  if c.backoff_max_ms ~= '0' then put('backoff_max_ms', c.backoff_max_ms) end
  if c.signature ~= '' then put('sig', c.signature) end
  if job.tenant then put('tenant', job.tenant) end
  for name, value in pairs(c.labels) do put('label:' .. name, value) end
  local more = { model = c.model, model_version = c.model_version, priority = c.priority, max_attempts = c.max_attempts,
    timeout_ms = c.timeout_ms, queue_timeout_ms = c.queue_timeout_ms, doc = c.spec, topic = c.topic, partition = c.partition,
    offset = c.offset }
  set_doc('spec:' .. c.id, c.spec)
  if cancelled then
    local reason = call('HGET', P .. 'tombstone_reasons', c.id)
    call('ZREM', P .. 'tombstones', c.id)
    call('HDEL', P .. 'tombstone_reasons', c.id)
    put('finished_at', NOW_TEXT)
    put('duration_ms', '0')
    put('cancel_reason', reason or 'cancel')
    transition(job, 'cancelled', reason or 'cancel', set, more)
    retire_later(c.id, 'cancelled')
  else
    put('queued_at', NOW_TEXT)
    if delayed then
      put('not_before', c.not_before)
      more.not_before = c.not_before
    end
    transition(job, 'queued', 'create', set, more)
    enqueue(job)
  end
  return ACCEPTED
end

local function cancel(c)
  local job = load(c.id)
  if not job then
    call('ZADD', P .. 'tombstones', NOW + TOMBSTONE_MS, c.id)
    call('HSET', P .. 'tombstone_reasons', c.id, c.reason)
    return NOTED
  end
  if job.state == 'cancelled' then return DUPLICATE end
  if job.state == 'queued' then
    job.cancel_reason = c.reason
    finish_cancelled(job)
    return ACCEPTED
  end
  if job.state == 'running' then
    if job.cancel_requested then return DUPLICATE end
    call('HSET', P .. 'job:' .. job.id, 'cancel_requested', 1, 'cancel_reason', c.reason)
    call('PUBLISH', P .. 'wake:' .. job.worker, job.id)
    return NOTED
  end
  return reject(c, 'too_late', ERRORS.too_late)
end

-- Opens, pauses or drains a model, or everything. No transition of a job, so no event.
local function set_mode(c)
  if c.mode == '' then
    call('HDEL', P .. 'policy', 'mode:' .. c.model, 'reason:' .. c.model)
    WAKE[c.model] = true
  else
    call('HSET', P .. 'policy', 'mode:' .. c.model, c.mode, 'reason:' .. c.model, c.reason)
  end
  POLICY = {}
  return ACCEPTED
end

-- ARGV as a list of commands, and the specs of those that create.
local function parse()
  local commands, ids, keys = {}, {}, {}
  local at = 1
  while ARGV[at] do
    local key = ARGV[at + 6]
    local c = { kind = ARGV[at], topic = ARGV[at + 1], partition = ARGV[at + 2], offset = ARGV[at + 3], id = ARGV[at + 4],
      traceparent = ARGV[at + 5], key = key ~= '' and string.sub(key, 2) or nil, raw = ARGV[at + 7], raw_size = ARGV[at + 8] }
    if c.kind == 'C' then
      c.model, c.model_version, c.priority = ARGV[at + 9], ARGV[at + 10], ARGV[at + 11]
      c.max_attempts, c.timeout_ms, c.queue_timeout_ms = ARGV[at + 12], ARGV[at + 13], ARGV[at + 14]
      c.not_before, c.backoff_ms, c.backoff_max_ms = ARGV[at + 15], ARGV[at + 16], ARGV[at + 17]
      c.signature, c.spec, c.labels = ARGV[at + 18], ARGV[at + 19], {}
      ids[#ids + 1], keys[#keys + 1] = c.id, P .. 'spec:' .. c.id
      local labels = tonumber(ARGV[at + 20])
      at = at + 21
      for _ = 1, labels do
        c.labels[ARGV[at]] = ARGV[at + 1]
        at = at + 2
      end
    elseif c.kind == 'X' then
      c.reason = ARGV[at + 9]
      at = at + 10
    elseif c.kind == 'M' then
      c.model, c.mode, c.reason = ARGV[at + 9], ARGV[at + 10], ARGV[at + 11]
      at = at + 12
    else
      c.code, c.envelope = ARGV[at + 9], ARGV[at + 10]
      at = at + 11
    end
    commands[#commands + 1] = c
  end
  for first = 1, #keys, CALL_MAX do
    local specs = call('MGET', unpack(keys, first, math.min(#keys, first + CALL_MAX - 1)))
    for i, spec in ipairs(specs) do SPECS[ids[first + i - 1]] = spec or nil end
  end
  return commands
end

if not begin() then return fenced() end
local verdicts, next_offset = {}, {}
local tombstones = call('EXISTS', P .. 'tombstones') == 1
for i, c in ipairs(parse()) do
  local place = c.topic .. ':' .. c.partition
  if not next_offset[place] then next_offset[place] = tonumber(call('HGET', P .. 'ingest', place)) or 0 end
  local offset = tonumber(c.offset) -- the event keeps the text, which has every digit
  if offset < next_offset[place] then
    verdicts[i] = DUPLICATE
  else
    next_offset[place] = offset + 1
    if c.kind == 'C' then verdicts[i] = create(c, tombstones)
    elseif c.kind == 'X' then verdicts[i] = cancel(c)
    elseif c.kind == 'M' then verdicts[i] = set_mode(c)
    else verdicts[i] = reject(c, c.code, c.envelope) end
    if c.kind == 'X' and verdicts[i] == NOTED then tombstones = true end
  end
end
for place, offset in pairs(next_offset) do call('HSET', P .. 'ingest', place, offset) end
flush()
return verdicts
