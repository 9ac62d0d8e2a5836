/* A line chart over the last minutes, in SVG.
 *
 * It draws what it is given and keeps nothing: the history, and its bound, are house.js's. Lines differ by dash as well as
 * by colour, and every value stands in the legend as text, so that neither colour nor a pointer is needed to read it. */

import {h, keyedList, setText, svg} from './dom.js';

const HEIGHT = 190;
const PADDING = {left: 44, right: 10, top: 10, bottom: 22};
const TICKS = 4;
const NARROW_MINUTE = 64; // pixels: below that, every second minute is written

/** A round upper end of the axis, `least` or more, and the distance of its ticks. */
export function niceScale(max, least = 1) {
    const raw = Math.max(max, least) / TICKS;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
    return {step, top: step * Math.ceil(Math.max(max, least) / step)};
}

/** An SVG path through the points that are there; null is a gap. */
export function pathOf(points) {
    let path = '';
    let pen = 'M';
    for (const point of points) {
        if (point === null) {
            pen = 'M';
            continue;
        }
        path += `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
        pen = 'L';
    }
    return path;
}

function nearest(times, at) {
    let best = -1;
    for (let i = 0; i < times.length; i++) if (best < 0 || Math.abs(times[i] - at) < Math.abs(times[best] - at)) best = i;
    return best;
}

/** The axis reaches to `least` at least; 4 for what is counted, so that its ticks are whole.
 *  {node, update({now, window_ms, times, lines: [{name, style, values}]})}; `style` 1.. or a state is a CSS class. */
export function lineChart(label, format, least) {
    const plot = svg('svg', {class: 'chart-plot', height: HEIGHT, role: 'img'});
    const legend = h('ul', {class: 'legend'});
    const when = h('p', {class: 'chart-when'});
    const node = h('figure', {class: 'chart'}, h('div', {class: 'chart-frame'}, plot, when), legend);
    let data = null;
    let pointed = null; // an x in the plot

    const draw = () => {
        const width = plot.clientWidth;
        if (!data || !width) return;
        drawChart(plot, width, {...data, least}, format, pointed);
        const index = pointed === null ? data.times.length - 1 : nearest(data.times, timeAt(pointed, width, data));
        setText(when, pointed === null || index < 0 ? '' : `${Math.round((data.now - data.times[index]) / 1000)} s ago`);
        const rows = data.lines.map((line) => ({...line, text: format(line.values[index])}));
        keyedList(legend, rows, (line) => line.name, legendRow);
        plot.setAttribute('aria-label', `${label}. Now: ${data.lines.map((line) => `${line.name} ${format(line.values.at(-1))}`).join(', ') || 'nothing yet'}`);
    };
    plot.addEventListener('pointermove', (event) => { pointed = event.offsetX; draw(); });
    plot.addEventListener('pointerleave', () => { pointed = null; draw(); });
    new ResizeObserver(draw).observe(plot);
    return {node, update(next) { data = next; draw(); }};
}

function legendRow(line) {
    const value = h('span', {class: 'legend-value'});
    const swatch = svg('svg', {class: `swatch line-${line.style}`, viewBox: '0 0 18 8', 'aria-hidden': 'true'}, svg('path', {d: 'M0 4h18', class: 'chart-line'}));
    return {node: h('li', null, swatch, h('span', {class: 'legend-name'}, line.name), value), update: ({text}) => setText(value, text)};
}

function timeAt(x, width, {now, window_ms}) {
    return now - window_ms + (x - PADDING.left) / (width - PADDING.left - PADDING.right) * window_ms;
}

function drawChart(plot, width, {now, window_ms, times, lines, least}, format, pointed) {
    const max = Math.max(0, ...lines.flatMap((line) => line.values.filter((value) => value !== null && value !== undefined)));
    const {step, top} = niceScale(max, least);
    const inner = {width: width - PADDING.left - PADDING.right, height: HEIGHT - PADDING.top - PADDING.bottom};
    const x = (at) => PADDING.left + Math.max(0, 1 - (now - at) / window_ms) * inner.width;
    const y = (value) => PADDING.top + (1 - value / top) * inner.height;
    plot.replaceChildren(
        ...axis(width, inner, step, top, y, format), ...timeAxis(window_ms, now, x),
        ...lines.map((line) => drawLine(line, times, x, y)),
        ...(pointed === null || pointed < PADDING.left ? [] : [svg('path', {class: 'chart-cursor', d: `M${pointed} ${PADDING.top}v${inner.height}`})]));
}

function axis(width, inner, step, top, y, format) {
    const nodes = [];
    for (let i = 0; i * step <= top + step / 100; i++) {
        const at = y(i * step);
        nodes.push(svg('path', {class: i ? 'chart-grid' : 'chart-base', d: `M${PADDING.left} ${at.toFixed(1)}h${inner.width}`}),
            svg('text', {class: 'chart-text', x: PADDING.left - 8, y: at + 4, 'text-anchor': 'end'}, format(i * step)));
    }
    return nodes;
}

function timeAxis(window_ms, now, x) {
    const minutes = window_ms / 60000;
    const step = x(now) - x(now - 60000) < NARROW_MINUTE ? 2 : 1;
    return Array.from({length: Math.floor(minutes / step) + 1}, (_, i) => i * step).map((minute) => svg('text',
        {class: 'chart-text', x: x(now - minute * 60000), y: HEIGHT - 5, 'text-anchor': minute === 0 ? 'end' : minute === minutes ? 'start' : 'middle'},
        minute === 0 ? 'now' : `−${minute} min`));
}

function drawLine(line, times, x, y) {
    const points = line.values.map((value, i) => (value === null || value === undefined ? null : [x(times[i]), y(value)]));
    return svg('path', {class: `chart-line line-${line.style}`, d: pathOf(points)});
}
