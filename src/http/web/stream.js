/* Server-sent events, by fetch.
 *
 * The browser's EventSource can send no Authorization header, and says nothing of why it failed; so the few lines of the
 * protocol stand here. A lost connection is taken up again behind the last id, after a delay that doubles up to 15 s. The
 * server sends a comment every 15 s; a stream that is silent for longer than SILENCE_MS is dead, even where the network
 * has not noticed. */

import {request} from './api.js';

const SILENCE_MS = 40000;
const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 15000;

/** Takes text in any pieces; calls emit({id, type, data}) for each event that is complete. */
export class EventParser {
    constructor(emit) {
        this.emit = emit;
        this.rest = '';
        this.lastId = null;
        this.begin();
    }

    begin() {
        this.type = '';
        this.data = [];
    }

    feed(text) {
        const lines = (this.rest + text).split('\n');
        this.rest = lines.pop();
        for (const line of lines) this.line(line.endsWith('\r') ? line.slice(0, -1) : line);
    }

    line(line) {
        if (line === '') {
            if (this.data.length) this.emit({id: this.lastId, type: this.type, data: this.data.join('\n')});
            this.begin();
            return;
        }
        const colon = line.indexOf(':');
        if (colon === 0) return; // a comment: the server is alive
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
        if (field === 'event') this.type = value;
        else if (field === 'data') this.data.push(value);
        else if (field === 'id') this.lastId = value;
    }
}

async function readOnce(path, lastId, onEvent, onOpen, signal) {
    const connection = new AbortController();
    const stop = () => connection.abort();
    signal.addEventListener('abort', stop);
    let silence;
    const alive = () => {
        clearTimeout(silence);
        silence = setTimeout(stop, SILENCE_MS);
    };
    try {
        alive();
        const headers = {Accept: 'text/event-stream'};
        if (lastId !== null) headers['Last-Event-ID'] = lastId;
        const response = await request(path, {headers, signal: connection.signal});
        onOpen();
        const parser = new EventParser(onEvent);
        parser.lastId = lastId;
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
            const {done, value} = await reader.read();
            if (done) return;
            alive();
            parser.feed(value);
        }
    } finally {
        clearTimeout(silence);
        signal.removeEventListener('abort', stop);
    }
}

function pause(ms, signal) {
    return new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, {once: true});
    });
}

/** Follows a stream until the signal is aborted, isOver() says at its end that nothing more will come, or the server refuses
 *  it for good. onState gets 'open', 'lost' or 'refused', the latter two with the ApiError where there is one. Last-Event-ID is kept across connections. */
export async function follow(path, {onEvent, onState = () => {}, isOver = () => false, signal}) {
    let lastId = null;
    let delay = FIRST_DELAY_MS;
    while (!signal.aborted) {
        let error = null;
        try {
            await readOnce(path, lastId, (event) => { lastId = event.id; onEvent(event); },
                () => { delay = FIRST_DELAY_MS; onState('open'); }, signal);
        } catch (caught) {
            error = caught;
        }
        if (signal.aborted) return;
        const refused = Boolean(error?.status) && !error.retryable;
        if (refused) onState('refused', error);
        if (refused || isOver()) return;
        onState('lost', error);
        await pause(delay * (0.75 + Math.random() / 2), signal);
        delay = Math.min(delay * 2, LAST_DELAY_MS);
    }
}
