/* The small parts that all views are made of. */

import {ApiError} from './api.js';
import {h, setText} from './dom.js';
import {ago, isoTime, time} from './format.js';
import {icon} from './icons.js';

export const STATES = ['queued', 'running', 'completed', 'failed', 'cancelled'];
const STATE_WORDS = {queued: 'Queued', running: 'Running', completed: 'Completed', failed: 'Failed', cancelled: 'Cancelled', rejected: 'Rejected'};

export function isTerminal(state) {
    return state === 'completed' || state === 'failed' || state === 'cancelled';
}

export function stateWord(state) {
    return STATE_WORDS[state] ?? state;
}

/** A state as icon, word and colour. */
export function statePill(state, cancelRequested = false) {
    const stopping = cancelRequested && state === 'running';
    return h('span', {class: `pill state-${state}`}, icon(state), stopping ? 'Stopping' : stateWord(state));
}

/** A pill whose state changes: {node, update(state, cancelRequested)}. */
export function livePill() {
    const node = h('span', {class: 'pill-place'});
    let shown = '';
    const update = (state, cancelRequested) => {
        if (shown === `${state} ${cancelRequested}`) return;
        shown = `${state} ${cancelRequested}`;
        node.replaceChildren(statePill(state, cancelRequested));
    };
    return {node, update};
}

/** A time as "12 s ago"; pointing at it tells it exactly. */
export function setAgo(node, at) {
    setText(node, ago(at));
    if (node.dateTime === isoTime(at)) return;
    node.dateTime = isoTime(at);
    node.title = time(at);
}

export function agoNode(at) {
    const node = h('time');
    setAgo(node, at);
    return node;
}

export function card(title, ...children) {
    return h('section', {class: 'card'}, h('header', {class: 'card-head'}, h('h2', null, title)), ...children);
}

export function button(label, onclick, {kind = '', iconName, ...attributes} = {}) {
    return h('button', {type: 'button', class: `button ${kind}`.trim(), onclick, ...attributes}, iconName && icon(iconName), h('span', null, label));
}

export function iconButton(label, iconName, onclick) {
    return h('button', {type: 'button', class: 'button icon-only', 'aria-label': label, title: label, onclick}, icon(iconName));
}

export function copyButton(label, textOf) {
    return iconButton(label, 'copy', async () => {
        try {
            await navigator.clipboard.writeText(textOf());
            toast('Copied');
        } catch {
            toast('The browser does not allow copying here', 'error');
        }
    });
}

/** Terms and descriptions, [term, description, class]; those without a value are left out. */
export function facts(pairs) {
    const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== '');
    return h('dl', {class: 'facts'}, shown.map(([name, value, kind]) => h('div', {class: kind}, h('dt', null, name), h('dd', null, value))));
}

/* --- what stands where there is nothing, not yet, or an error ------------------------------------------------------- */

export function loading(what) {
    return h('div', {class: 'blank', 'aria-busy': 'true'}, h('span', {class: 'spinner'}), h('p', null, `Loading ${what} …`));
}

export function empty(title, text, ...actions) {
    return h('div', {class: 'blank'}, h('p', {class: 'blank-title'}, title), h('p', null, text), actions.length > 0 && h('div', {class: 'actions'}, ...actions));
}

export function asApiError(error) {
    return error instanceof ApiError ? error : new ApiError(0, {
        code: 'dashboard', message: `The dashboard itself failed: ${error.message}`, hint: 'Reload the page; if it stays, report it with the browser console\'s text.', retryable: true,
    });
}

/** An error envelope, be it an answer of the server or why a job failed. */
export function errorBox(error, {title = error.message, retry} = {}) {
    return h('div', {class: 'error-box'}, icon('warning'),
        h('div', null,
            h('p', {class: 'error-title'}, title),
            title !== error.message && h('p', null, error.message),
            error.hint && h('p', {class: 'error-hint'}, error.hint),
            h('p', {class: 'error-code'}, h('code', null, error.code), error.retryable === undefined ? null
                : h('span', null, error.retryable ? 'Trying again may help' : 'Trying again the same way will not help'))),
        retry && button('Try again', retry));
}

/* --- messages and dialogs ------------------------------------------------------------------------------------------- */

const TOAST_MS = 6000;
const TOASTS_MAX = 4;

export function toast(text, kind = '') {
    const place = document.getElementById('toasts');
    const node = h('div', {class: `toast ${kind}`.trim()}, icon(kind === 'error' ? 'warning' : 'ok'), h('span', null, text));
    place.append(node);
    while (place.children.length > TOASTS_MAX) place.firstChild.remove();
    setTimeout(() => node.remove(), TOAST_MS);
}

export function toastError(error) {
    const shown = asApiError(error);
    toast(shown.hint ? `${shown.message}. ${shown.hint}` : shown.message, 'error');
}

/** A modal dialog with a form. Resolves to its FormData, or null where it was left. */
export function ask({title, body, action, kind = 'primary', leave = 'Cancel'}) {
    return new Promise((resolve) => {
        const id = `dialog-${title.toLowerCase().replaceAll(/[^a-z]+/g, '-')}`;
        const form = h('form', {onsubmit: (event) => { event.preventDefault(); answer = new FormData(form); dialog.close(); }},
            h('h2', {id}, title), ...[body].flat(),
            h('div', {class: 'actions end'},
                leave && h('button', {type: 'button', class: 'button', onclick: () => dialog.close()}, leave),
                action && h('button', {type: 'submit', class: `button ${kind}`}, action)));
        const dialog = h('dialog', {class: 'dialog', 'aria-labelledby': id}, form);
        let answer = null;
        dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); }); // beside it
        dialog.addEventListener('close', () => { dialog.remove(); resolve(answer); });
        document.body.append(dialog);
        dialog.showModal();
    });
}

let fieldCount = 0;

/** A label with its control and, below, a hint that is read with it. */
export function field(label, control, hint) {
    const id = `field-${++fieldCount}`;
    control.id = id;
    if (hint) control.setAttribute('aria-describedby', `${id}-hint`);
    return h('div', {class: 'field'}, h('label', {for: id}, label), control, hint && h('p', {class: 'hint', id: `${id}-hint`}, hint));
}

export function select(options, value, attributes) {
    const node = h('select', attributes, options.map(([key, text]) => h('option', {value: key}, text)));
    node.value = value;
    return node;
}
