/* The one way to the server.
 *
 * Every refusal becomes an ApiError with the envelope's code, message, hint and retryable, and so does a server that does
 * not answer at all: a view has one kind of error to show. A 401 asks for a token, once for all the requests that wait,
 * and they are sent again with it; it is kept for this tab alone (sessionStorage). */

const TOKEN_KEY = 'penstock.token';

export class ApiError extends Error {
    constructor(status, envelope) {
        super(envelope.message);
        this.status = status;
        this.code = envelope.code;
        this.hint = envelope.hint;
        this.retryable = envelope.retryable;
    }
}

let token = null;
try {
    token = sessionStorage.getItem(TOKEN_KEY);
} catch {
    /* No storage: the token lives as long as the page. */
}

let askForToken = async () => null;
let asking = null;

/** `ask(refused)` resolves to a token, or null where nobody gives one. `refused`: the one that was sent is not known. */
export function onUnauthorized(ask) {
    askForToken = ask;
}

export function hasToken() {
    return token !== null;
}

export function forgetToken() {
    setToken(null);
}

function setToken(value) {
    token = value;
    try {
        if (value === null) sessionStorage.removeItem(TOKEN_KEY);
        else sessionStorage.setItem(TOKEN_KEY, value);
    } catch {
        /* As above. */
    }
}

function newToken(refused) {
    asking ??= askForToken(refused).then((given) => {
        asking = null;
        if (given !== null) setToken(given);
        return given;
    });
    return asking;
}

async function envelopeOf(response) {
    try {
        const body = await response.json();
        if (body?.code && body?.message) return body;
    } catch {
        /* Not ours: a proxy's page, say. */
    }
    return {
        code: `http_${response.status}`,
        message: `The server answered ${response.status} ${response.statusText}`.trim(),
        hint: 'The answer has no error envelope; is there a proxy in between?',
        retryable: response.status >= 500,
    };
}

const unreachable = () => new ApiError(0, {
    code: 'unreachable',
    message: 'Penstock does not answer',
    hint: 'Is `penstock serve` running, and can this browser reach it? The page tries again by itself.',
    retryable: true,
});

/** The Response, if it is a good one. Throws ApiError, or what the signal was aborted with. */
export async function request(path, options = {}) {
    const headers = new Headers(options.headers);
    const sent = token;
    if (sent !== null) headers.set('Authorization', `Bearer ${sent}`);
    let response;
    try {
        response = await fetch(path, {cache: 'no-store', ...options, headers});
    } catch (error) {
        if (options.signal?.aborted) throw error;
        throw unreachable();
    }
    if (response.ok) return response;
    if (response.status === 401) {
        const given = token === sent ? await newToken(sent !== null) : token; // another request may have got one meanwhile
        if (given !== null) return request(path, options);
    }
    throw new ApiError(response.status, await envelopeOf(response));
}

export async function getJson(path, signal) {
    return (await request(path, {signal, headers: {Accept: 'application/json'}})).json();
}

export async function sendJson(method, path, body, signal) {
    const options = {method, signal};
    if (body !== undefined) {
        options.body = JSON.stringify(body);
        options.headers = {'Content-Type': 'application/json'};
    }
    return (await request(path, options)).json();
}

export function jobPath(id, rest = '') {
    return `jobs/${encodeURIComponent(id)}${rest}`;
}
