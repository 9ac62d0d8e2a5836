/* The durability that is really in force, as /v1/guarantees reads it from Redis, Kafka and the configuration.
 *
 * The answer is open: what the server tells is shown, whatever its members are called, so that a page need not be changed
 * for a figure that is added. */

import {getJson} from './api.js';
import {every, h, redraw} from './dom.js';
import {bytes, count, duration, words} from './format.js';
import {icon} from './icons.js';
import {asApiError, card, empty, errorBox, facts, loading} from './parts.js';

const RELOAD_MS = 15000;

export function guaranteesView({signal}) {
    const place = h('div', {class: 'stack'}, loading('what is in force'));
    const load = async () => {
        try {
            const told = await getJson('v1/guarantees', signal);
            redraw(place, JSON.stringify(told), () => sections(told));
        } catch (error) {
            if (signal.aborted) return;
            place.drawnVersion = null;
            place.replaceChildren(errorBox(asApiError(error), {retry: load}));
        }
    };
    load();
    every(RELOAD_MS, load, signal);
    return h('div', {class: 'view'}, h('div', {class: 'view-head'}, h('h1', null, 'Guarantees'), h('p', {class: 'hint'}, 'What an acknowledgement is worth at present')), place);
}

const SENTENCE_CHARS = 40; // longer than that is no word to stand in a column

const isGroup = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const isTable = (value) => Array.isArray(value) && value.some(isGroup);
const isLong = (value) => Array.isArray(value) || (typeof value === 'string' && value.length > SENTENCE_CHARS);

function sections(told) {
    const entries = Object.entries(told);
    if (!entries.length) return empty('Nothing is told', 'The server gave an empty answer.');
    const plain = entries.filter(([, value]) => !isGroup(value));
    const groups = entries.filter(([, value]) => isGroup(value));
    const cards = (list) => list.map(([name, value]) => card(words(name), facts(Object.entries(value).map(pair))));
    const wide = ([, value]) => Object.values(value).some(isTable);
    return [plain.length > 0 && card('In short', facts(plain.map(pair))), h('div', {class: 'columns'}, cards(groups.filter((group) => !wide(group)))), ...cards(groups.filter(wide))];
}

function pair([name, value]) {
    return [words(name.replace(/_(ms|bytes)$/, '')), shown(value, name), isLong(value) ? 'whole' : undefined];
}

function shown(value, name = '') {
    if (typeof value === 'boolean') return h('span', {class: value ? 'yes' : 'no'}, icon(value ? 'ok' : 'no'), value ? 'yes' : 'no');
    if (Array.isArray(value)) return value.length === 0 ? 'none' : value.every(isGroup) ? tableOf(value, words(name)) : h('ul', {class: 'tensor-list'}, value.map((item) => h('li', null, shown(item))));
    if (isGroup(value)) return facts(Object.entries(value).map(pair));
    if (typeof value === 'number') return name.endsWith('_ms') ? duration(value) : name.endsWith('_bytes') ? bytes(value) : count(value);
    return value === null ? 'not known' : String(value);
}

function tableOf(rows, label) {
    const names = [...new Set(rows.flatMap(Object.keys))];
    return h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label}, h('table', {class: 'table compact'},
        h('thead', null, h('tr', null, names.map((name) => h('th', {scope: 'col'}, words(name))))),
        h('tbody', null, rows.map((row) => h('tr', null, names.map((name) => h('td', null, shown(row[name] ?? null, name))))))));
}
