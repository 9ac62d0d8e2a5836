-- Common part of every script: one batch of transitions, one outbox entry.
--
-- The text of a script is: the generated prelude (EPOCH, MAY, ERRORS, constants; see script.c), this file, then the
-- script's own file. Rules that keep a batch whole, because Redis does not roll a failed script back:
--   * check everything about a job before the first write for it; a job that must not be touched is answered, not raised;
--   * every change of state goes through transition(), which is the only place that bumps seq and emits an event;
--   * every script that may emit ends with flush(), which appends all events of the batch as one stream entry.
-- The reader's side of what transition() writes is job_fold() in src/job/fold.c; the two change together.

local META = KEYS[1]                     -- "<prefix>meta": names the slot; all other keys share its prefix
local P = string.sub(META, 1, -5)
local call = redis.call
local SEP = '\31'                        -- cannot occur in a scalar of an event: names and numbers are checked before

local NOW                                -- Redis TIME in ms: the only clock that deadlines are judged by
local NOW_TEXT                           -- the same as text (see whole)
local RETIRE_TEXT = {}                   -- when a job that ends now in a state is forgotten, by state; asked by retire_later
local GSEQ, TOKENS                       -- events ever emitted; fencing tokens ever drawn
local READIED, READIED_BEFORE            -- a clock in us that never stands still: a job's place in its queue
local STEP                               -- what a priority is worth on that clock
local NOW_US
local OUT = {}                           -- job_id, event, job_id, event ...
local WAKE = {}                          -- models that got ready jobs

-- Moves in the sorted sets, and what is counted, are collected and written once, by settle(): a call from Lua costs as much as the work that it
-- asks for, and a batch of 128 jobs moves a thousand times. The last word about a member counts, so a job that is created
-- and cancelled in one batch ends up where it should. Whoever reads such a key in the same script calls settle() first.
local ZSETS, COUNTS, DOCS = {}, {}, {}

local function member_of(all, key)
  local members = all[key]
  if not members then members = {}; all[key] = members end
  return members
end

local function zadd(key, score, id) member_of(ZSETS, key)[id] = score end
local function zrem(key, id) member_of(ZSETS, key)[id] = false end
local function count(field, by) COUNTS[field] = (COUNTS[field] or 0) + by end
local function set_doc(key, doc) DOCS[key] = doc end

-- Redis' Lua passes at most some 8,000 values to one call; even, because values come in pairs.
local CALL_MAX = 4000

local function call_chunked(command, key, args)
  for at = 1, #args, CALL_MAX do
    local to = math.min(#args, at + CALL_MAX - 1)
    if key then call(command, P .. key, unpack(args, at, to)) else call(command, unpack(args, at, to)) end
  end
end

local function settle()
  for key, members in pairs(ZSETS) do
    local add, remove = {}, {}
    for id, score in pairs(members) do
      if score then add[#add + 1] = score; add[#add + 1] = id else remove[#remove + 1] = id end
    end
    call_chunked('ZADD', key, add)
    call_chunked('ZREM', key, remove)
  end
  for field, by in pairs(COUNTS) do
    if by ~= 0 and call('HINCRBY', P .. 'counts', field, by) == 0 then call('HDEL', P .. 'counts', field) end
  end
  local docs = {}
  for key, doc in pairs(DOCS) do docs[#docs + 1] = P .. key; docs[#docs + 1] = doc end
  call_chunked('MSET', nil, docs)
  ZSETS, COUNTS, DOCS = {}, {}, {}
end

-- A number as text. Lua prints 14 digits by itself, and the year 9999 in ms takes 15. Printing is also what a script spends most
-- of its time on, so texts stay texts where nothing is calculated, and a number that many jobs share is printed once.
local function whole(n) return string.format('%.0f', n) end

-- In strict order a priority outweighs any time that a job may have waited: 2^48 us are nine years. A score stays below 2^53, where
-- a double is exact.
local STRICT_STEP = 281474976710656

-- Reads the clock and the counters. False when another epoch rules: then nothing may be written.
local function begin()
  local t = call('TIME')
  NOW_US = t[1] * 1000000 + t[2]
  NOW = math.floor(NOW_US / 1000)
  NOW_TEXT = whole(NOW)
  local m = call('HMGET', META, 'store_epoch', 'gseq', 'tokens', 'readied', 'ageing_us')
  GSEQ, TOKENS, READIED = tonumber(m[2]) or 0, tonumber(m[3]) or 0, tonumber(m[4]) or 0
  READIED_BEFORE = READIED
  STEP = tonumber(m[5] or 0)
  if STEP == 0 then STEP = STRICT_STEP end
  return m[1] == EPOCH
end

-- Sets the end of an ended job's record; false where it is kept for ever.
local function retire_later(id, state)
  if RETENTION_MS[state] == 0 then return false end
  RETIRE_TEXT[state] = RETIRE_TEXT[state] or whole(NOW + RETENTION_MS[state])
  zadd('timers', RETIRE_TEXT[state], id)
  return true
end

local function fenced() return redis.error_reply('FENCED the scripts are of store epoch ' .. EPOCH) end

-- A Redis at its maxmemory refuses a script at the first write that may take memory. Right for new jobs; but what ends jobs,
-- requeues or forgets them has to go on, or nothing would ever free memory. A write that takes none, before the others, does it:
-- Redis does not stop a script half way.
local function allow_without_memory() call('HDEL', META, 'nothing') end

local function next_token()
  TOKENS = TOKENS + 1
  return EPOCH .. '-' .. TOKENS
end

-- Order of fields: store__event_decode() in outbox.c. doc, key and raw may hold any bytes and so stand behind their lengths.
-- An empty number is 0.
local function emit(e)
  local doc, key, raw = e.doc or '', e.key, e.raw or ''
  OUT[#OUT + 1] = e.id or ''
  OUT[#OUT + 1] = table.concat({
    e.seq or '', e.from or '', e.to, NOW_TEXT, e.attempt or '', e.max_attempts or '', e.crashes or '', e.priority or '',
    e.model or '', e.model_version or '', e.worker or '', e.token or '', e.reason or '', e.traceparent or '',
    e.not_before or '', e.timeout_ms or '', e.queue_timeout_ms or '', e.progress or '',
    e.topic or '', e.partition or '', e.offset or '',
    #doc, key and #key or '-1', e.raw_size or '', doc .. (key or '') .. raw }, SEP)
end

-- The job's record as a table, or nil if there is none. Times and seq are numbers, 0 if absent; the rest stays text.
local function load(id)
  local v = call('HMGET', P .. 'job:' .. id, 'state', 'seq', 'model', 'model_version', 'priority', 'attempt', 'max_attempts',
    'crashes', 'token', 'worker', 'cancel_requested', 'cancel_reason', 'traceparent', 'timeout_ms', 'queue_timeout_ms', 'queued_at',
    'started_at', 'not_before', 'lease_until', 'progress', 'tenant', 'sig', 'suspect', 'backoff_ms', 'backoff_max_ms',
    'solo')
  if not v[1] then return nil end
  return { id = id, state = v[1], seq = tonumber(v[2]), model = v[3], model_version = v[4] or nil, priority = v[5],
    attempt = v[6], max_attempts = v[7], crashes = v[8], token = v[9] or nil, worker = v[10] or nil,
    cancel_requested = v[11] or nil, cancel_reason = v[12] or nil, traceparent = v[13] or nil,
    timeout_ms = tonumber(v[14] or 0), queue_timeout_ms = tonumber(v[15] or 0), queued_at = tonumber(v[16] or 0),
    started_at = tonumber(v[17] or 0), not_before = tonumber(v[18] or 0), lease_until = tonumber(v[19] or 0),
    progress = v[20] or nil, tenant = v[21] or nil, sig = v[22] or '', suspect = v[23] or nil,
    backoff_ms = tonumber(v[24] or 0), backoff_max_ms = tonumber(v[25] or 0), solo = v[26] or nil }
end

-- --- tenants: the jobs of one value of a label, of which only so many may run at once -------------------------------------------
-- A tenant's jobs that find no slot are parked by model, out of the way of the others: a claim must not have to look through them.
-- Invariant: while jobs of a model and tenant are parked, as many others of them as the tenant has free slots stand in the ready
-- queue. So each freed slot brings back one job of every model that has some parked; if several are brought back for one slot, the
-- claim parks those that come too late. A job that is brought back joins the end of its priority, so that tenants take turns.
local MODEL_LIMITS = {}
local function model_limit(model)
  if not MODEL_LIMITS[model] then MODEL_LIMITS[model] = tonumber(call('HGET', P .. 'policy', 'model:' .. model) or 0) end
  return MODEL_LIMITS[model]
end

local TENANTS, TENANT_NAMES = {}, {}     -- those that this script has to do with, in the order in which it met them

local function tenant_of(name)
  local tenant = TENANTS[name]
  if tenant then return tenant end
  local limits = call('HMGET', P .. 'policy', 'tenant:' .. name, 'tenant_default')
  local limit = tonumber(limits[1] or limits[2] or 0)
  tenant = { limit = limit > 0 and limit or math.huge, parked = {},
    running = tonumber(call('HGET', P .. 'counts', 'tenant:' .. name) or 0) }
  TENANTS[name], TENANT_NAMES[#TENANT_NAMES + 1] = tenant, name
  return tenant
end

local function count_tenant(name, by)
  local tenant = tenant_of(name)
  tenant.running = tenant.running + by
  count('tenant:' .. name, by)
  if by < 0 then tenant.look = true end
end

local function parked_key(model, name) return 'parked:' .. model .. ':' .. name end

local function has_parked(model, name)
  local parked = tenant_of(name).parked
  if parked[model] == nil then parked[model] = call('EXISTS', P .. parked_key(model, name)) == 1 end
  return parked[model]
end

local function park(job, score)
  local tenant = tenant_of(job.tenant)
  tenant.parked[job.model], tenant.look = true, true
  zadd(parked_key(job.model, job.tenant), score, job.id)
  call('SADD', P .. 'parked_models:' .. job.tenant, job.model)
  call('SADD', P .. 'parked_tenants', job.tenant)
end

-- Urgent first, then in the order of becoming ready; with ageing, a priority is worth a time of waiting. The clock goes on by at
-- least one each time, so no two jobs share a place, and a clock that was set back reorders nothing.
local function ready_score(priority)
  READIED = math.max(READIED + 1, NOW_US)
  return whole(READIED + (9 - priority) * STEP)
end

-- Brings back parked jobs of one tenant, as many of each model as it has slots.
local UNPARK_MAX = 64
local function unpark(name, tenant)
  local slots = math.min(tenant.limit - tenant.running, UNPARK_MAX)
  if slots <= 0 then return end
  local models = call('SMEMBERS', P .. 'parked_models:' .. name)
  table.sort(models) -- Redis' order is by chance
  for _, model in ipairs(models) do
    local popped = call('ZPOPMIN', P .. parked_key(model, name), slots)
    for i = 1, #popped, 2 do
      local priority = call('HGET', P .. 'job:' .. popped[i], 'priority')
      if priority then zadd('ready:' .. model, ready_score(priority), popped[i]) end
      WAKE[model] = true
    end
    if #popped < 2 * slots then call('SREM', P .. 'parked_models:' .. name, model) end
  end
  if call('EXISTS', P .. 'parked_models:' .. name) == 0 then call('SREM', P .. 'parked_tenants', name) end
end

-- For every tenant that got a slot back, or had a job parked, in this script.
local function unpark_all()
  settle()
  for _, name in ipairs(TENANT_NAMES) do
    local tenant = TENANTS[name]
    if tenant.look then unpark(name, tenant) end
    tenant.look = false
    tenant.parked = {}
  end
end

local function flush()
  unpark_all()
  settle()
  for at = 1, #OUT, CALL_MAX do
    local to = math.min(#OUT, at + CALL_MAX - 1)
    GSEQ = GSEQ + (to - at + 1) / 2
    call('XADD', P .. 'outbox', GSEQ .. '-0', unpack(OUT, at, to))
  end
  if #OUT > 0 or READIED ~= READIED_BEFORE then call('HSET', META, 'gseq', GSEQ, 'tokens', TOKENS, 'readied', whole(READIED)) end
  for model in pairs(WAKE) do call('PUBLISH', P .. 'wake', model) end
end

-- The one way from state to state. `set`: fields of the record that change besides state, seq and updated_at (a flat list of
-- name, value); `more`: members of the event beyond what the record says. False, and nothing done, if the table has no such row.
local function transition(job, to, reason, set, more)
  local from = job.state
  if not (MAY[from or ''] or {})[to] then return false end
  job.seq = (job.seq or 0) + 1
  job.state = to
  local seq = whole(job.seq)
  if from == 'queued' or from == 'running' then count(from .. ':' .. job.model, -1) end
  if to == 'queued' or to == 'running' then count(to .. ':' .. job.model, 1) end
  if from == 'running' and model_limit(job.model) > 0 then WAKE[job.model] = true end
  if job.tenant and from == 'running' then count_tenant(job.tenant, -1) end
  if job.tenant and to == 'running' then count_tenant(job.tenant, 1) end
  call('HSET', P .. 'job:' .. job.id, 'state', to, 'seq', seq, 'updated_at', NOW_TEXT, unpack(set))
  if from then zrem('index:' .. from, job.id) end
  zadd('index:' .. to, NOW_TEXT, job.id)
  local e = more or {}
  e.id, e.seq, e.from, e.to, e.reason = job.id, seq, from, to, reason
  e.attempt, e.crashes, e.traceparent = job.attempt, job.crashes, job.traceparent
  emit(e)
  return true
end

-- Where a ready job waits: in its model's queue, or parked while its tenant has no slot, or behind others of its tenant that are
-- parked: it must not overtake them.
local function make_ready(job)
  local score = ready_score(job.priority)
  if job.tenant then
    local tenant = tenant_of(job.tenant)
    if tenant.running >= tenant.limit or has_parked(job.model, job.tenant) then return park(job, score) end
  end
  zadd('ready:' .. job.model, score, job.id)
end

-- Puts a queued job where it waits: among the ready ones, or among the timers until not_before.
local function enqueue(job)
  local from = math.max(job.queued_at, job.not_before)
  if job.not_before > NOW then
    zadd('timers', job.not_before, job.id)
    return
  end
  make_ready(job)
  if job.queue_timeout_ms > 0 then
    zadd('timers', from + job.queue_timeout_ms, job.id)
  else
    zrem('timers', job.id)
  end
  WAKE[job.model] = true
end

-- The next deadline of a running job: its lease, or the last moment of its run (the worker ends it on time by itself; this is
-- for a worker that renews but does not obey).
local function running_deadline(job)
  if job.timeout_ms == 0 then return job.lease_until end
  return math.min(job.lease_until, job.started_at + job.timeout_ms + RUN_GRACE_MS)
end

local function let_go(job)
  if job.worker then zrem('held:' .. job.worker, job.id) end
end

-- Ends a job. Its worker and token stay in the record: they tell who did it.
local function finish(job, to, reason, doc)
  if not (MAY[job.state or ''] or {})[to] then return false end
  if job.state == 'running' then let_go(job) end
  if job.state == 'queued' then
    zrem('ready:' .. job.model, job.id)
    if job.tenant then zrem(parked_key(job.model, job.tenant), job.id) end
  end
  local set = { 'finished_at', NOW_TEXT, 'duration_ms', job.started_at > 0 and NOW - job.started_at or '0', 'crashes', job.crashes }
  if to == 'failed' then
    set[#set + 1] = 'error_code'
    set[#set + 1] = reason
    set_doc('error:' .. job.id, doc)
  elseif to == 'completed' then
    set_doc('result:' .. job.id, doc)
  else
    set[#set + 1] = 'cancel_reason'
    set[#set + 1] = reason
  end
  local done = transition(job, to, reason, set, { worker = job.worker, token = job.token, doc = doc, progress = job.progress })
  if job.lease_until > 0 or job.not_before > 0 or job.cancel_requested then
    call('HDEL', P .. 'job:' .. job.id, 'lease_until', 'not_before', 'cancel_requested')
  end
  if not retire_later(job.id, to) then zrem('timers', job.id) end
  return done
end

-- Gives a running job back to the queue. A retry never undoes a cancel: whoever calls has looked at cancel_requested.
local function requeue(job, reason, not_before)
  let_go(job)
  local worker, token = job.worker, job.token
  job.queued_at, job.not_before = NOW, not_before
  local set = { 'queued_at', NOW_TEXT, 'attempt', job.attempt, 'crashes', job.crashes }
  local until_text = not_before > 0 and whole(not_before) or nil
  if until_text then set[#set + 1], set[#set + 2] = 'not_before', until_text end
  transition(job, 'queued', reason, set, { worker = worker, token = token, not_before = until_text })
  call('HDEL', P .. 'job:' .. job.id, 'worker', 'token', 'started_at', 'lease_until', 'progress', 'progress_message',
    'solo')
  enqueue(job)
end

local function finish_cancelled(job) return finish(job, 'cancelled', job.cancel_reason or 'cancel') end

-- Whoever held these jobs is gone. A crash is charged to a job only if it was alone in the executor: of a batch nobody knows which
-- one it was, so all of it run alone from now on, and the guilty one will be found.
local LOST = {}                          -- jobs that lost their worker in this script
local function lose(job, charged, suspect)
  LOST[job.id] = true
  if charged then job.crashes = whole(job.crashes + 1) end
  if job.cancel_requested then return finish_cancelled(job) end
  if tonumber(job.crashes) >= MAX_CRASHES then return finish(job, 'failed', 'worker_lost', ERRORS.worker_lost) end
  requeue(job, 'worker_lost', 0)
  if suspect then call('HSET', P .. 'job:' .. job.id, 'suspect', '1') end
end

-- Takes jobs from a worker, at most `max`: all that it holds if it is known to be dead, else those whose lease is over. While other
-- leases of it are current it lives, and what it let expire it never knew of: an answer was lost on the way. Only its oldest batch
-- was in the executor; a younger one was claimed ahead. Returns how many entries it looked at.
local function lose_worker(worker, dead, max)
  local held = call('ZRANGE', P .. 'held:' .. worker, 0, max - 1, 'WITHSCORES')
  local lost, alive = {}, false
  for i = 1, #held, 2 do
    local job = load(held[i])
    if not job or job.state ~= 'running' or job.worker ~= worker then zrem('held:' .. worker, held[i])
    elseif dead or job.lease_until <= NOW then
      job.in_executor = held[i + 1] == held[2]
      lost[#lost + 1] = job
    else alive = true end
  end
  for _, job in ipairs(lost) do
    local ran = job.in_executor and not alive
    lose(job, ran and job.solo, ran and not job.solo)
  end
  return #held / 2
end

-- May this popped job stand beside those already taken? Those without a slot are parked; those of another signature, and those that
-- may be what kills workers, which are handed out alone, go back to their places.
local function take_popped(jobs, job, score)
  local first, tenant = jobs[1], job.tenant and tenant_of(job.tenant)
  job.alone = job.suspect or job.crashes ~= '0'
  if tenant and tenant.running + (tenant.taken or 0) >= tenant.limit then
    park(job, score)
  elseif first and (job.alone or first.alone or job.sig ~= first.sig or job.model_version ~= first.model_version) then
    zadd('ready:' .. job.model, score, job.id)
  else
    if tenant then tenant.taken = (tenant.taken or 0) + 1 end
    jobs[#jobs + 1] = job
  end
end

-- Ready jobs of one model and signature, in order, at most `max`.
local POP_ROUNDS = 32 -- so many times it may find only jobs to be parked
local function pop_ready(model, max)
  local jobs, popped = {}, { true }
  for _ = 1, POP_ROUNDS do
    if #jobs == 0 and #popped > 0 then
      popped = call('ZPOPMIN', P .. 'ready:' .. model, max)
      for i = 1, #popped, 2 do
        local job = load(popped[i])
        if job and job.state == 'queued' then take_popped(jobs, job, popped[i + 1]) end
      end
    end
  end
  for _, job in ipairs(jobs) do
    if job.tenant then tenant_of(job.tenant).taken = 0 end
  end
  if #jobs == 0 and #popped > 0 then WAKE[model] = true end -- more may stand behind those put aside
  return jobs
end

-- Us that an incomplete batch of a model waits yet for more: until its first job has been ready for `delay` us.
local function batch_wait(model, head, score, max, delay)
  if delay <= 0 or call('ZCARD', P .. 'ready:' .. model) >= max then return 0 end
  local priority = tonumber(call('HGET', P .. 'job:' .. head, 'priority') or 9)
  return score - (9 - priority) * STEP + delay - NOW_US
end

-- The models of a claim that may give jobs now, the most urgent head first; and how long the others have to wait. `at` is where they
-- begin in ARGV: name, max_jobs, max_delay_us each.
local function claimable(at, models)
  local ask, running, found, wait = {}, {}, {}, -1
  if models == 0 then return found, wait end
  for m = 0, models - 1 do
    local model = ARGV[at + 3 * m]
    ask[#ask + 1], ask[#ask + 2] = 'mode:' .. model, 'model:' .. model
    running[#running + 1] = 'running:' .. model
  end
  local policy = call('HMGET', P .. 'policy', 'mode:*', unpack(ask))
  running = call('HMGET', P .. 'counts', unpack(running))
  for m = 0, models - 1 do
    local model, max, delay = ARGV[at + 3 * m], tonumber(ARGV[at + 3 * m + 1]), tonumber(ARGV[at + 3 * m + 2])
    local limit = tonumber(policy[2 * m + 3] or 0)
    local room = limit > 0 and limit - tonumber(running[m + 1] or 0) or max
    if policy[1] ~= 'paused' and policy[2 * m + 2] ~= 'paused' and room > 0 then
      local head = call('ZRANGE', P .. 'ready:' .. model, 0, 0, 'WITHSCORES')
      if head[1] then
        local us = batch_wait(model, head[1], tonumber(head[2]), max, delay)
        if us <= 0 then found[#found + 1] = { name = model, max = math.min(max, room), score = tonumber(head[2]) }
        elseif wait < 0 or us < wait then wait = us end
      end
    end
  end
  table.sort(found, function(a, b) return a.score < b.score end)
  return found, wait
end

-- Hands ready jobs of one model to a worker. ARGV from `at`: worker, lease_ms, number of models, then of each name, max_jobs,
-- max_delay_us. Returns {us that an incomplete batch waits yet or -1, rows {id, model, version, token, traceparent, attempt, crashes,
-- timeout_ms, backoff_ms, backoff_max_ms, spec} ...}.
local function claim(at)
  local worker, lease_until = ARGV[at], NOW + ARGV[at + 1]
  local jobs, keys, rows = {}, {}, {}
  unpark_all()
  settle()
  local models, wait = claimable(at + 3, tonumber(ARGV[at + 2]))
  rows[1] = math.ceil(wait)
  for _, model in ipairs(models) do
    if #jobs == 0 then jobs = pop_ready(model.name, model.max) end
  end
  if #jobs == 0 then return rows end
  rows[1] = -1
  for i, job in ipairs(jobs) do keys[i] = P .. 'spec:' .. job.id end
  local specs = call('MGET', unpack(keys)) -- CLAIM_MAX in claim.c keeps them few enough
  local lease_text, batch = whole(lease_until), whole(TOKENS + 1)
  for i, job in ipairs(jobs) do
    job.worker, job.token = worker, next_token()
    job.started_at, job.lease_until = NOW, lease_until
    local set = { 'worker', worker, 'token', job.token, 'started_at', NOW_TEXT, 'lease_until', lease_text }
    if #jobs == 1 then set[9], set[10] = 'solo', '1' end
    transition(job, 'running', 'claim', set, { worker = worker, token = job.token })
    if job.not_before > 0 then call('HDEL', P .. 'job:' .. job.id, 'not_before') end
    local deadline = running_deadline(job)
    zadd('timers', deadline == lease_until and lease_text or deadline, job.id)
    zadd('held:' .. worker, batch, job.id)
    rows[i + 1] = { job.id, job.model, job.model_version or '', job.token, job.traceparent or '', tonumber(job.attempt),
      tonumber(job.crashes), job.timeout_ms, job.backoff_ms, job.backoff_max_ms, specs[i] or '' }
  end
  return rows
end
