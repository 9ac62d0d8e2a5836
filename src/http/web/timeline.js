/* What happened to a job, drawn from its events: one row for each time it was queued, with its waits and its run. */

import {h, svg} from './dom.js';
import {duration, now, time} from './format.js';
import {isTerminal, statePill, stateWord} from './parts.js';

const ROWS_MAX = 20;
const KEY = [['delay', 'held back'], ['wait', 'waiting'], ['run', 'running'], ['run ended-completed', 'run that completed'], ['run ended-failed', 'run that failed']];
const REASONS = {
    create: 'created', claim: 'claimed by a worker', retry: 'to be tried again', worker_lost: 'its worker was lost', cancel: 'as asked', finish: 'finished',
};

/** [{attempt, delayed, waits, runs: {from, to}, worker, outcome, reason}], oldest first; `to` of what goes on is `until`. */
export function passesOf(events, until) {
    const passes = [];
    for (const event of events) {
        const pass = passes.at(-1);
        if (pass && !pass.outcome) endPart(pass, event);
        if (event.to === 'queued') passes.push({from: event.at, attempt: event.attempt, ready: Math.max(event.not_before ?? 0, event.at)});
    }
    for (const pass of passes) {
        const waited = pass.started ?? pass.ended ?? until;
        const ready = Math.min(pass.ready, waited);
        if (ready > pass.from) pass.delay = {from: pass.from, to: ready};
        pass.wait = {from: ready, to: waited};
        if (pass.started) pass.run = {from: pass.started, to: pass.ended ?? until};
    }
    return passes;
}

function endPart(pass, event) {
    if (event.to === 'running') {
        Object.assign(pass, {started: event.at, worker: event.worker, attempt: event.attempt});
    } else if (event.to !== 'rejected') {
        Object.assign(pass, {ended: event.at, outcome: event.to, reason: event.reason});
    }
}

/** What the record alone tells, as events: the last round. For servers that have no events (any more). */
export function eventsOfRecord(job) {
    const {state, attempt} = job;
    const events = [{to: 'queued', at: job.queued_at ?? job.created_at, attempt, not_before: job.not_before}];
    if (job.started_at >= events[0].at) events.push({to: 'running', at: job.started_at, attempt, worker: job.worker});
    if (isTerminal(state)) events.push({to: state, at: job.finished_at, attempt});
    return events;
}

export function reasonText(reason) {
    return REASONS[reason] ?? reason?.replaceAll('_', ' ') ?? '';
}

/** The bars. The axis goes from the first event to the last, or to now while the job has not ended. */
export function timelineView(events) {
    const ended = isTerminal(events.at(-1).to);
    const start = events[0].at;
    const end = ended ? events.at(-1).at : Math.max(now(), events.at(-1).at);
    const passes = passesOf(events, end);
    const span = Math.max(end - start, 1);
    const hidden = Math.max(0, passes.length - ROWS_MAX);
    return h('div', {class: 'timeline'},
        hidden > 0 && h('p', {class: 'hint'}, `The first ${hidden} rounds are not drawn; the list below has them.`),
        h('ol', {class: 'passes'}, passes.slice(hidden).map((pass) => passRow(pass, start, span))),
        h('div', {class: 'timeline-axis'}, h('span', null, time(start)), h('span', null, `${duration(end - start)}${ended ? '' : ' so far'}`)),
        h('ul', {class: 'timeline-key'}, KEY.map(([kind, text]) =>
            h('li', null, svg('svg', {class: 'swatch-box', 'aria-hidden': 'true'}, svg('rect', {class: `part part-${kind}`, width: '100%', height: '100%', rx: 2})), text))));
}

function passRow(pass, start, span) {
    const parts = ['delay', 'wait', 'run'].filter((kind) => pass[kind]);
    const words = parts.map((kind) => `${{delay: 'held back', wait: 'waited', run: 'ran'}[kind]} ${duration(pass[kind].to - pass[kind].from)}`);
    return h('li', {class: 'pass'},
        h('span', {class: 'pass-name'}, pass.started ? `Run ${pass.attempt}` : 'Queued'),
        svg('svg', {class: 'pass-track', 'aria-hidden': 'true'}, parts.map((kind) => svg('rect', {
            class: `part part-${kind} ${kind === 'run' && pass.outcome ? `ended-${pass.outcome}` : ''}`, height: '100%', rx: 2,
            x: `${((pass[kind].from - start) / span * 100).toFixed(3)}%`, width: `${((pass[kind].to - pass[kind].from) / span * 100).toFixed(3)}%`,
        }))),
        h('span', {class: 'pass-text'}, words.join(', '), pass.outcome === 'queued' ? `; ${reasonText(pass.reason)}` : pass.outcome ? `; ${stateWord(pass.outcome).toLowerCase()}` : ''));
}

/** The same in words, one row an event. What a phone has no room for stands below the time there. */
export function eventTable(events) {
    const columns = [['Seq', ''], ['State', ''], ['At', ''], ['After', 'wide'], ['Attempt', 'wide'], ['Why', 'wide'], ['Worker', 'wide']];
    return h('table', {class: 'table events'},
        h('thead', null, h('tr', null, columns.map(([name, kind]) => h('th', {scope: 'col', class: kind}, name)))),
        h('tbody', null, events.map((event, i) => eventRow(event, events[i - 1]))));
}

function eventRow(event, before) {
    const after = before ? `+${duration(event.at - before.at)}` : '';
    const why = event.error ? `${reasonText(event.reason)}: ${event.error.message}` : reasonText(event.reason);
    return h('tr', null,
        h('td', {class: 'number'}, String(event.seq)), h('td', null, statePill(event.to)),
        h('td', {class: 'number'}, time(event.at), h('span', {class: 'under'}, [after, why].filter(Boolean).join(' · '))),
        h('td', {class: 'number wide'}, after), h('td', {class: 'number wide'}, String(event.attempt)), h('td', {class: 'wide'}, why),
        h('td', {class: 'wide'}, event.worker && h('code', null, event.worker)));
}
