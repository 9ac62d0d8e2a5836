/* How numbers, times and sizes are written. The clock is the server's: ages must not depend on the browser's. */

let offset_ms = 0;

/** Tells what the server's clock said just now (ms since the epoch). */
export function setServerTime(at) {
    offset_ms = at - Date.now();
}

export function now() {
    return Date.now() + offset_ms;
}

const grouped = new Intl.NumberFormat('en');
const compact = new Intl.NumberFormat('en', {notation: 'compact', maximumFractionDigits: 1});

export function count(n) {
    if (n === undefined || n === null) return '–';
    return Math.abs(n) < 100000 ? grouped.format(n) : compact.format(n);
}

export function rate(n) {
    if (n === undefined || n === null) return '–';
    return n < 10 ? String(Math.round(n * 10) / 10) : count(Math.round(n));
}

/** 850 ms, 12.4 s, 3 min 20 s, 2 h 5 min, 4 d 3 h */
export function duration(ms) {
    if (ms === undefined || ms === null || Number.isNaN(ms)) return '–';
    if (ms < 0) ms = 0;
    if (ms < 1000) return `${Math.round(ms)} ms`;
    if (ms < 10000) return `${(ms / 1000).toFixed(1)} s`;
    const seconds = Math.round(ms / 1000);
    if (seconds < 60) return `${seconds} s`;
    return twoUnits(seconds, [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]);
}

function twoUnits(seconds, units) {
    const first = units.findIndex(([size]) => seconds >= size);
    const [size, name] = units[first];
    const whole = `${Math.floor(seconds / size)} ${name}`;
    const next = units[first + 1];
    const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
    return rest ? `${whole} ${rest} ${next[1]}` : whole;
}

/** How long ago, coarsely: "now", "12 s ago". */
export function ago(at) {
    if (!at) return '–';
    const ms = now() - at;
    if (ms < 1500) return 'now';
    const seconds = Math.round(ms / 1000);
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
}

const clock = new Intl.DateTimeFormat('en-GB', {hour: '2-digit', minute: '2-digit', second: '2-digit'});
const dated = new Intl.DateTimeFormat('en-GB', {day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit'});

/** With milliseconds, in local time; the day too unless it is today. */
export function time(at) {
    if (!at) return '–';
    const date = new Date(at);
    const today = new Date(now()).toDateString() === date.toDateString();
    return `${(today ? clock : dated).format(date)}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

export function isoTime(at) {
    return at ? new Date(at).toISOString() : '';
}

export function bytes(n) {
    if (n === undefined || n === null) return '–';
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let unit = 0;
    while (n >= 1024 && unit < units.length - 1) {
        n /= 1024;
        unit++;
    }
    return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

/** A tensor's element: short, and honest about what is no number. */
export function element(value) {
    if (typeof value !== 'number') return String(value);
    if (Number.isInteger(value)) return Math.abs(value) < 1e7 ? String(value) : value.toExponential(3);
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e6 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

/** A name in snake_case as one reads it: "max_running" is "Max running". */
export function words(name) {
    const text = String(name).replaceAll('_', ' ').replaceAll('.', ' ');
    return text.charAt(0).toUpperCase() + text.slice(1);
}
