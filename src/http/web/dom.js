/* Building and updating the page.
 *
 * Text reaches the page through text nodes and attributes alone, never as markup: whatever a job's labels, errors or
 * ids say, it is shown, not run. Lists that change while somebody reads them are updated in place (keyedList), so that
 * focus, selection and scroll position survive every refresh. */

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (value === undefined || value === null || value === false) continue;
        if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
        else node.setAttribute(name, value === true ? '' : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return node;
}

/** An HTML element. Attributes that are undefined, null or false are left out; `on<event>` adds a listener. */
export function h(tag, attributes, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Writes a text only where it differs: an unchanged text keeps the reader's selection, and is not announced again. */
export function setText(node, text) {
    if (node.textContent !== String(text)) node.textContent = text;
}

/** The children of a node that is drawn as a whole; nothing happens while `version` is that of the last time. */
export function redraw(node, version, draw) {
    if (node.drawnVersion === version) return;
    node.drawnVersion = version;
    node.replaceChildren(...[draw()].flat().filter(Boolean));
}

/** Makes `parent` show `items` in order, reusing what it shows already. `make(item)` gives {node, update(item)}. */
export function keyedList(parent, items, keyOf, make) {
    const known = parent.keyedRows ?? new Map();
    const rows = new Map();
    let place = parent.firstChild;
    for (const item of items) {
        const key = keyOf(item);
        if (rows.has(key)) continue;
        const row = known.get(key) ?? make(item);
        rows.set(key, row);
        row.update(item);
        if (row.node === place) place = place.nextSibling;
        else parent.insertBefore(row.node, place);
    }
    for (const [key, row] of known) if (!rows.has(key)) row.node.remove();
    parent.keyedRows = rows;
}

/** Calls `work` every `ms` until the signal is aborted; a call that takes longer is not overtaken by the next. */
export function every(ms, work, signal) {
    const tick = async () => {
        if (signal.aborted) return;
        await work();
        if (!signal.aborted) timer = setTimeout(tick, ms);
    };
    let timer = setTimeout(tick, ms);
    signal.addEventListener('abort', () => clearTimeout(timer));
}
