/* The dashboard: routes, keys, theme. Each view is a function of (context) that returns a node; what it starts (polls,
 * streams, listeners) hangs on context.signal, which is aborted when the view is left. Views live in view_*.js.
 *
 * Routes stand behind the '#', so that every view is a link, the back button works, and the server needs to know one page:
 *     #/  #/jobs?state=failed&model=m  #/jobs/ID  #/submit?model=m  #/models  #/workers  #/guarantees */

import {forgetToken, hasToken, onUnauthorized} from './api.js';
import {h, setText} from './dom.js';
import {house, startHouse, watchHouse} from './house.js';
import {icon} from './icons.js';
import {ask, asApiError, empty, errorBox, field, iconButton} from './parts.js';
import {guaranteesView} from './view_guarantees.js';
import {jobView} from './view_job.js';
import {jobsView} from './view_jobs.js';
import {modelsView} from './view_models.js';
import {overviewView} from './view_overview.js';
import {submitView} from './view_submit.js';
import {workersView} from './view_workers.js';

const VIEWS = [
    {name: 'overview', path: '/', label: 'Overview', key: 'o', view: overviewView},
    {name: 'jobs', path: '/jobs', label: 'Jobs', key: 'j', view: jobsView},
    {name: 'submit', path: '/submit', label: 'Submit', key: 's', view: submitView},
    {name: 'models', path: '/models', label: 'Models', key: 'm', view: modelsView},
    {name: 'workers', path: '/workers', label: 'Workers', key: 'w', view: workersView},
    {name: 'guarantees', path: '/guarantees', label: 'Guarantees', key: 'g', view: guaranteesView},
];

/* --- routes --------------------------------------------------------------------------------------------------------- */

function routeOf(hash) {
    const [path, search = ''] = (hash.replace(/^#/, '') || '/').split('?', 2);
    const query = new URLSearchParams(search);
    const job = /^\/jobs\/(.+)$/.exec(path);
    if (job) return {name: 'jobs', view: jobView, title: decodeSafely(job[1]), params: {id: decodeSafely(job[1])}, query};
    const found = VIEWS.find((view) => view.path === path);
    return found ? {...found, title: found.label, params: {}, query} : {name: '', view: lostView, title: 'Not found', params: {}, query};
}

function decodeSafely(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}

function lostView() {
    return h('div', null, h('h1', null, 'Not found'), empty('There is no such page', 'The address may have been cut off.', h('a', {class: 'button', href: '#/'}, 'To the overview')));
}

let leave = null;
let shownName = null;

function show() {
    leave?.abort();
    leave = new AbortController();
    const route = routeOf(location.hash);
    const main = document.getElementById('main');
    let node;
    try {
        node = route.view({query: route.query, params: route.params, signal: leave.signal});
    } catch (error) {
        node = h('div', null, h('h1', null, route.title), errorBox(asApiError(error)));
    }
    main.replaceChildren(node);
    document.title = `${route.title} · Penstock`;
    for (const link of document.querySelectorAll('#nav a')) {
        if (link.dataset.view === route.name) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
    }
    const place = `${route.name} ${route.params.id ?? ''}`;
    if (shownName !== null && shownName !== place) {
        scrollTo(0, 0);
        main.focus({preventScroll: true}); // a screen reader goes on from here
    }
    shownName = place;
}

/* --- theme ---------------------------------------------------------------------------------------------------------- */

const THEMES = {auto: ['auto', 'Theme: as the system'], light: ['sun', 'Theme: light'], dark: ['moon', 'Theme: dark']};

function themeButton() {
    const names = Object.keys(THEMES);
    let theme = document.documentElement.dataset.theme ?? 'auto';
    const node = h('button', {type: 'button', class: 'button icon-only', id: 'theme'});
    const draw = () => {
        const [iconName, label] = THEMES[theme];
        node.replaceChildren(icon(iconName));
        node.setAttribute('aria-label', label);
        node.title = label;
    };
    node.addEventListener('click', () => {
        theme = names[(names.indexOf(theme) + 1) % names.length];
        if (theme === 'auto') delete document.documentElement.dataset.theme;
        else document.documentElement.dataset.theme = theme;
        try {
            localStorage.setItem('penstock.theme', theme);
        } catch {
            /* It holds for this page alone. */
        }
        draw();
    });
    draw();
    return node;
}

/* --- token ---------------------------------------------------------------------------------------------------------- */

async function askForToken(refused) {
    const input = h('input', {type: 'password', name: 'token', required: true, autocomplete: 'off', spellcheck: 'false'});
    const answer = await ask({
        title: 'Token needed',
        body: [h('p', null, refused ? 'The server does not know the token that was given.' : 'This Penstock wants to know who is asking.'),
            field('Token', input, 'Made by `penstock token`. It is kept in this tab only, until it is closed.')],
        action: 'Go on',
    });
    const token = answer?.get('token').trim();
    if (!token) return null;
    document.getElementById('forget').hidden = false;
    return token;
}

function forgetButton() {
    const node = iconButton('Forget the token', 'no', () => {
        forgetToken();
        location.reload();
    });
    node.id = 'forget';
    node.hidden = !hasToken();
    return node;
}

/* --- keys ----------------------------------------------------------------------------------------------------------- */

const KEYS = [
    ...VIEWS.map(({key, label}) => [['g', key], label]),
    [['/'], 'Find a job'], [['t'], 'Change the theme'], [['?'], 'This list'], [['Esc'], 'Close a dialog'],
];

let helpOpen = false;

async function showHelp() {
    if (helpOpen) return;
    helpOpen = true;
    await ask({
        title: 'Keys',
        body: h('dl', {class: 'keys'}, KEYS.map(([keys, text]) => h('div', null, h('dt', null, keys.map((key) => h('kbd', null, key))), h('dd', null, text)))),
        leave: 'Close',
    });
    helpOpen = false;
}

function isTyping(target) {
    return target.closest?.('input, textarea, select, [contenteditable]') || document.querySelector('dialog[open]');
}

function findJob() {
    if (routeOf(location.hash).view !== jobsView) location.hash = '#/jobs';
    setTimeout(() => document.getElementById('find-job')?.focus(), 0); // once the view is there
}

function listenToKeys() {
    const SECOND_KEY_MS = 1200;
    let goAt = 0;
    document.addEventListener('keydown', (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
        const view = event.timeStamp - goAt < SECOND_KEY_MS && VIEWS.find(({key}) => key === event.key);
        goAt = 0;
        if (view) location.hash = `#${view.path}`;
        else if (event.key === 'g') goAt = event.timeStamp;
        else if (event.key === '?') showHelp();
        else if (event.key === 't') document.getElementById('theme').click();
        else if (event.key === '/') findJob();
        else return;
        event.preventDefault();
    });
}

/* --- the frame ------------------------------------------------------------------------------------------------------ */

function statusMark() {
    const text = h('span', {class: 'status-text'});
    const node = h('a', {class: 'status', href: '#/', 'aria-live': 'off'}, h('span', {class: 'dot'}), text);
    watchHouse(() => {
        node.dataset.state = house.error ? 'lost' : house.ready?.ready ? 'ready' : 'unready';
        setText(text, house.error ? 'No connection' : house.ready?.ready ? 'Ready' : 'Not ready');
        node.title = house.error?.message ?? house.ready?.reason ?? `Penstock ${house.overview?.version ?? ''}`;
    }, new AbortController().signal);
    return node;
}

function build() {
    document.getElementById('nav').append(...VIEWS.map(({name, path, label}) =>
        h('a', {href: `#${path}`, 'data-view': name}, icon(name), h('span', null, label))));
    document.getElementById('tools').append(statusMark(), forgetButton(), iconButton('Keys', 'help', showHelp), themeButton());
    document.querySelector('.skip').addEventListener('click', (event) => {
        event.preventDefault(); // the address belongs to the routes
        document.getElementById('main').focus();
    });
}

onUnauthorized(askForToken);
build();
listenToKeys();
addEventListener('hashchange', show);
startHouse(new AbortController().signal);
show();
