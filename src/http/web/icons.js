/* Icons, as strokes in a square of 16. Every state has its own shape, so that none is told from another by colour alone. */

import {svg} from './dom.js';

const PATHS = {
    overview: ['M2 9h4l2-6 2 10 2-4h2'],
    jobs: ['M5.5 3.5h8.5M5.5 8h8.5M5.5 12.5h8.5', 'M2 3.5h.5M2 8h.5M2 12.5h.5'],
    submit: ['M8 10.5V2.5M5 5.5l3-3 3 3', 'M2.5 10v3.5h11V10'],
    models: ['M8 1.8l5.5 3v6.4l-5.5 3-5.5-3V4.8z', 'M2.5 4.8l5.5 3 5.5-3M8 7.8v6.4'],
    workers: ['M4 4h8v8H4z', 'M6.5 1.5V4M9.5 1.5V4M6.5 12v2.5M9.5 12v2.5M1.5 6.5H4M1.5 9.5H4M12 6.5h2.5M12 9.5h2.5'],
    guarantees: ['M8 1.8l5.2 1.8v4c0 3-2.2 5.4-5.2 6.6-3-1.2-5.2-3.6-5.2-6.6v-4z', 'M5.7 8l1.7 1.7 3-3.2'],

    queued: ['M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z', 'M8 5v3l2 1.5'],
    running: ['M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z', 'M6.7 5.5v5l4-2.5z'],
    completed: ['M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z', 'M5.4 8.2l1.8 1.8 3.4-3.7'],
    failed: ['M5.5 2h5L14 5.5v5L10.5 14h-5L2 10.5v-5z', 'M6 6l4 4M10 6l-4 4'],
    cancelled: ['M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z', 'M3.9 12.1l8.2-8.2'],
    rejected: ['M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z', 'M5.2 8h5.6'],

    ok: ['M3 8.5l3.2 3.2L13 4.8'],
    no: ['M4 4l8 8M12 4l-8 8'],
    warning: ['M8 2.2l6.2 11.3H1.8z', 'M8 6.5v3.2M8 11.6v.2'],
    info: ['M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z', 'M8 7.3v3.7M8 5v.2'],
    pause: ['M5.5 3.5v9M10.5 3.5v9'],
    resume: ['M5 3.2v9.6l7.5-4.8z'],
    drain: ['M2.5 3h11l-4 5v4.5l-3 1V8z'],
    search: ['M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 1 0 0-9zM10.3 10.3l3.4 3.4'],
    copy: ['M5.5 5.5h8v8h-8z', 'M10.5 5.5v-3h-8v8h3'],
    download: ['M8 2.5v8M5 7.5l3 3 3-3', 'M2.5 13.5h11'],
    sun: ['M8 5a3 3 0 1 0 0 6 3 3 0 1 0 0-6z', 'M8 1.3v1.4M8 13.3v1.4M1.3 8h1.4M13.3 8h1.4M3.3 3.3l1 1M11.7 11.7l1 1M3.3 12.7l1-1M11.7 4.3l1-1'],
    moon: ['M13.3 9.7A5.8 5.8 0 0 1 6.3 2.7a5.8 5.8 0 1 0 7 7z'],
    auto: ['M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z', 'M8 2v12M8 4.5h2.8M8 7h4M8 9.5h3.8M8 12h2.3'],
    help: ['M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2z', 'M6.3 6.3c0-2.3 3.5-2.3 3.5 0 0 1.2-1.8 1.2-1.8 2.5M8 11.2v.2'],
    back: ['M9.5 3.5L5 8l4.5 4.5'],
    forward: ['M6.5 3.5L11 8l-4.5 4.5'],
};

export function icon(name) {
    return svg('svg', {viewBox: '0 0 16 16', class: `icon icon-${name}`, 'aria-hidden': 'true', focusable: 'false'},
        PATHS[name].map((d) => svg('path', {d})));
}
