/* The house at a glance: what is wrong, how many jobs are where, how fast they come through, and what happened last. */

import {lineChart} from './chart.js';
import {h, keyedList, redraw, setText} from './dom.js';
import {count, duration, now, rate} from './format.js';
import {alerts, house, MODELS_MAX, oldestReadyAt, watchHouse, WINDOW_MS} from './house.js';
import {icon} from './icons.js';
import {card, loading, setAgo, STATES, statePill, stateWord} from './parts.js';
import {follow} from './stream.js';
import {reasonText} from './timeline.js';

const FEED_LENGTH = 12;
const FEED_MS = 500; // how often the feed is drawn at most
const STREAM_WORDS = {open: 'live', lost: 'connecting again …', refused: 'not live: the server gives no stream'};
const ENDINGS = ['completed', 'failed', 'cancelled'];

export function overviewView({signal}) {
    const notices = h('div', {class: 'notices'});
    const body = h('div', {class: 'stack'}, loading('the overview'));
    const tiles = stateTiles();
    const figures = smallFigures();
    const depth = lineChart('Jobs that wait, by model', count, 4);
    const through = lineChart('Jobs that ended per second', rate);
    const feed = liveFeed(signal);
    let built = false;
    watchHouse(() => {
        redraw(notices, JSON.stringify(alerts()), drawAlerts);
        if (!house.overview) {
            if (house.error) body.replaceChildren();
            return;
        }
        if (!built) {
            built = true;
            body.replaceChildren(tiles.node, figures.node, h('div', {class: 'columns'}, card('Queue depth', depth.node), card('Throughput, jobs per second', through.node)), feed.node);
        }
        tiles.update();
        figures.update();
        depth.update(depthData());
        through.update(throughputData());
    }, signal);
    return h('div', {class: 'view'}, h('h1', null, 'Overview'), notices, body);
}

function drawAlerts() {
    return alerts().map(({level, title, text, href}) => h('div', {class: `notice ${level}`}, icon(level === 'info' ? 'info' : 'warning'),
        h('div', null, h('p', {class: 'notice-title'}, title), h('p', null, text)), href && h('a', {href}, 'Look')));
}

function stateTiles() {
    const values = {};
    const node = h('ul', {class: 'tiles'}, STATES.map((state) => {
        values[state] = h('span', {class: 'tile-value'});
        return h('li', null, h('a', {class: `tile state-${state}`, href: `#/jobs?state=${state}`},
            h('span', {class: 'tile-name'}, icon(state), stateWord(state)), values[state]));
    }));
    return {node, update() { for (const state of STATES) setText(values[state], count(house.overview.states[state])); }};
}

function smallFigures() {
    const names = [['oldest', 'Oldest waiting'], ['rate', 'Ended per second'], ['workers', 'Workers'], ['outbox', 'Events to publish'], ['kafka', 'Kafka'], ['mode', 'Mode']];
    const values = {};
    const node = h('dl', {class: 'figures card'}, names.map(([key, name]) => {
        values[key] = h('dd');
        return h('div', null, h('dt', null, name), values[key]);
    }));
    return {node, update() {
        const {overview, queues} = house;
        const oldest = oldestReadyAt(queues);
        setText(values.oldest, oldest ? duration(now() - oldest) : 'nothing waits');
        setText(values.rate, rate(endedRate(house.history.at(-1))));
        setText(values.workers, count(overview.workers));
        setText(values.outbox, overview.outbox_entries ? `${count(overview.outbox_entries)} batches` : 'none');
        setText(values.kafka, overview.kafka ? 'answers' : 'does not answer');
        setText(values.mode, overview.mode);
    }};
}

function endedRate(sample) {
    if (!sample || sample.rates.completed === null) return null;
    return ENDINGS.reduce((sum, state) => sum + sample.rates[state], 0);
}

function chartData(lines) {
    return {now: now(), window_ms: WINDOW_MS, times: house.history.map((sample) => sample.at), lines};
}

/* The models with the deepest queues within the window; which they are changes slowly, so their colours hardly move. */
function depthData() {
    const peak = new Map();
    for (const {depths} of house.history) for (const [model, n] of Object.entries(depths)) peak.set(model, Math.max(n, peak.get(model) ?? 0));
    const models = [...peak.keys()].sort((a, b) => peak.get(b) - peak.get(a)).slice(0, MODELS_MAX).sort();
    return chartData(models.map((model, i) => ({name: model, style: i + 1, values: house.history.map((sample) => sample.depths[model] ?? 0)})));
}

function throughputData() {
    return chartData(ENDINGS.map((state) => ({name: stateWord(state), style: state, values: house.history.map((sample) => sample.rates[state])})));
}

/* --- what happens, live --------------------------------------------------------------------------------------------- */

/* Events may come by the hundred a second, and some are large: only the last few are kept, and only what is drawn is parsed. */
function liveFeed(signal) {
    const list = h('ul', {class: 'feed'});
    const state = h('span', {class: 'feed-state'}, 'connecting …');
    const quiet = h('p', {class: 'feed-quiet'}, 'Nothing has happened since this page was opened.');
    const latest = [];
    let timer = null;
    const draw = () => {
        timer = null;
        quiet.hidden = latest.length > 0;
        keyedList(list, latest.map(parsed), ({key}) => key, feedRow);
    };
    follow('events', {
        signal,
        onEvent(event) {
            latest.unshift(event);
            if (latest.length > FEED_LENGTH) latest.pop();
            timer ??= setTimeout(draw, FEED_MS);
        },
        onState(now, error) {
            state.dataset.state = now;
            setText(state, STREAM_WORDS[now]);
            state.title = error?.message ?? '';
            if (now === 'refused') setText(quiet, error.message);
        },
    });
    signal.addEventListener('abort', () => clearTimeout(timer));
    const node = card('Latest transitions', list, quiet);
    node.querySelector('.card-head').append(state);
    return {node};
}

function parsed(event) {
    if (event.parsed) return event.parsed;
    try {
        event.parsed = {...JSON.parse(event.data), key: event.id};
    } catch {
        event.parsed = {key: event.id};
    }
    event.parsed.type = event.type;
    return event.parsed;
}

function feedRow(value) {
    if (!value.to) {
        return {node: h('li', null, h('span', null, value.type === 'penstock.gap' ? 'Some events were missed here.' : value.type)), update() {}};
    }
    const at = h('time', {class: 'feed-time'});
    const why = value.error ? value.error.message : reasonText(value.reason);
    const node = h('li', null, statePill(value.to), value.job_id ? h('a', {class: 'mono clip', href: `#/jobs/${encodeURIComponent(value.job_id)}`}, value.job_id) : h('span', null, 'a command without a job'),
        h('span', {class: 'feed-why clip'}, [value.model, why].filter(Boolean).join(' · ')), at);
    return {node, update: () => setAgo(at, value.at)};
}
