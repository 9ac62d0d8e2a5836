/* What the whole house does at present: one poller for all views, and the short history that the charts show.
 *
 * Polled, not derived from the event stream: at hundreds of jobs a second the counts in Redis cost three small requests,
 * the events would cost megabytes. History is bounded by HISTORY_LENGTH samples of at most MODELS_MAX models each, so that
 * a page that stays open for weeks holds what one of five minutes holds. It survives a reload in sessionStorage. */

import {getJson} from './api.js';
import {every} from './dom.js';
import {duration, now, setServerTime} from './format.js';
import {asApiError} from './parts.js';

const POLL_MS = 2000;
export const WINDOW_MS = 5 * 60 * 1000;
export const HISTORY_LENGTH = WINDOW_MS / POLL_MS + 1;
export const MODELS_MAX = 8;
const HISTORY_KEY = 'penstock.history';
const GAP_MS = 4 * POLL_MS; // samples further apart are not joined

const HEARTBEAT_LATE_MS = 10000;
const OUTBOX_HIGH = 200;
const OUTBOX_POLLS = 3; // in a row, before it is called a lag

/** What was read last; `error` in place of it where the last poll failed. `history`: oldest first. */
export const house = {overview: null, queues: null, workers: null, ready: null, error: null, history: [], outboxHigh: 0};
const watchers = new Set();

/** Calls `update()` now, where there is something already, and after every poll. */
export function watchHouse(update, signal) {
    watchers.add(update);
    signal.addEventListener('abort', () => watchers.delete(update));
    if (house.overview || house.error) update();
}

/** Polls at once, for instance after a command. */
export function refreshHouse() {
    return poll();
}

export function startHouse(signal) {
    restoreHistory();
    addEventListener('pagehide', saveHistory);
    poll();
    every(POLL_MS, poll, signal);
}

async function poll() {
    try {
        const [overview, queues, workers, ready] = await Promise.all([
            getJson('v1/overview'), getJson('v1/queues'), getJson('v1/workers'), readiness()]);
        setServerTime(overview.at);
        Object.assign(house, {overview, queues: queues.queues, workers: workers.workers, ready, error: null});
        house.outboxHigh = overview.outbox_entries >= OUTBOX_HIGH ? house.outboxHigh + 1 : 0;
        remember(overview, queues.queues);
    } catch (error) {
        house.error = asApiError(error);
    }
    for (const update of watchers) update();
}

/* Not ready is an answer, too: 503 with the reason. */
async function readiness() {
    const response = await fetch('v2/health/ready', {cache: 'no-store'});
    try {
        return await response.json();
    } catch {
        return null;
    }
}

/* --- history -------------------------------------------------------------------------------------------------------- */

function depthsOf(queues) {
    const busiest = [...queues].sort((a, b) => b.queued + b.running - a.queued - a.running || a.model.localeCompare(b.model));
    return Object.fromEntries(busiest.slice(0, MODELS_MAX).map((queue) => [queue.model, queue.queued]));
}

/** Per second, from two readings of a counter. Retention takes old jobs out of the counts: below zero is no rate. */
export function rateOf(before, after, ms) {
    return ms > 0 ? Math.max(0, (after - before) * 1000 / ms) : null;
}

export function remember(overview, queues, history = house.history) {
    const last = history.at(-1);
    if (last && overview.at <= last.at) return;
    const sample = {at: overview.at, counts: overview.states, depths: depthsOf(queues), rates: {}};
    const joined = last && overview.at - last.at <= GAP_MS;
    for (const state of ['completed', 'failed', 'cancelled']) {
        sample.rates[state] = joined ? rateOf(last.counts[state], sample.counts[state], overview.at - last.at) : null;
    }
    history.push(sample);
    while (history.length > HISTORY_LENGTH) history.shift();
}

function saveHistory() {
    try {
        sessionStorage.setItem(HISTORY_KEY, JSON.stringify(house.history));
    } catch {
        /* Then the charts begin anew. */
    }
}

function restoreHistory() {
    try {
        const kept = JSON.parse(sessionStorage.getItem(HISTORY_KEY) ?? '[]');
        house.history = kept.filter((sample) => sample.at > Date.now() - WINDOW_MS).slice(-HISTORY_LENGTH);
    } catch {
        /* As above. */
    }
}

/* --- what deserves attention ---------------------------------------------------------------------------------------- */

export function oldestReadyAt(queues) {
    const waiting = queues.map((queue) => queue.oldest_ready_at).filter(Boolean);
    return waiting.length ? Math.min(...waiting) : null;
}

/** What an operator should look at, the worst first: {level: error | warning | info, title, text, href}. */
export function alerts() {
    if (house.error) return [{level: 'error', title: house.error.message, text: house.error.hint}];
    const {overview, queues, workers, ready} = house;
    if (!overview) return [];
    const found = [];
    const add = (level, title, text, href) => found.push({level, title, text, href});
    if (!overview.kafka) add('error', 'Kafka does not answer', 'No job can be sent, and no event is published, until it does.', '#/guarantees');
    if (ready && !ready.ready && overview.kafka) add('warning', 'Not ready', ready.reason ?? 'No reason is given.');
    if (house.outboxHigh >= OUTBOX_POLLS) {
        add('warning', 'Events are published late', `${overview.outbox_entries} batches of events wait for Kafka. Records are up to date; the audit trail lags behind.`);
    }
    if (workers.length === 0) add('warning', 'No worker', 'Jobs are taken and kept, but nothing runs them. Start one: penstock worker.', '#/workers');
    for (const worker of workers) {
        const silent_ms = now() - worker.seen_at;
        if (silent_ms > HEARTBEAT_LATE_MS) add('warning', `Worker ${worker.worker} is silent`, `Its last heartbeat was ${duration(silent_ms)} ago.`, '#/workers');
    }
    if (overview.mode !== 'open') add('info', overview.mode === 'paused' ? 'Everything is paused' : 'Everything is draining', modeText(overview.mode), '#/models');
    for (const queue of queues) {
        if (queue.mode !== 'open') add('info', `${queue.model} is ${queue.mode}`, modeText(queue.mode), '#/models');
    }
    return found;
}

function modeText(mode) {
    return mode === 'paused' ? 'Jobs are taken and wait; none is started.' : 'What is queued is worked off; new jobs are refused.';
}
