// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does a connection between two services look? Its curve, its kind, its width, and the small label on it. Pure.

import { NODE } from "/layout.js";
import * as format from "/format.js";

/** "denied", "secure" or "plain": decides colour and tip. */
export function kind(edge) {
  if (edge.denied_now > 0 || (edge.denied > 0 && edge.opened === 0)) return "denied";
  return edge.security === "mutual_tls" ? "secure" : "plain";
}

/** Nothing happened on it during the last minute. */
export const quiet = (edge) =>
  edge.opened_per_second + edge.denied_per_second + edge.sent_per_second + edge.received_per_second === 0;

/** Pixels: one more for each tenfold of connections a second. */
export function width(edge) {
  const perSecond = edge.opened_per_second + edge.denied_per_second;
  return Math.round(10 * Math.min(5, 1.3 + Math.max(0, Math.log10(1 + 10 * perSecond)) * 0.9)) / 10;
}

/** What stands on the edge for a metric ("rate", "bytes", "rtt"), and which symbols: "lock", "half-lock", "cross". */
export function label(edge, metric) {
  if (kind(edge) === "denied") {
    return { symbol: "cross", text: edge.denied_per_second > 0 ? format.rate(edge.denied_per_second) : `${edge.denied}×` };
  }
  const symbol = edge.security === "mutual_tls" ? "lock" : edge.security === "mixed" ? "half-lock" : null;
  if (metric === "bytes") return { symbol, text: `${format.bytes(edge.sent_per_second + edge.received_per_second)}/s` };
  if (metric === "rtt") return { symbol, text: format.rtt(edge.rtt_us) };
  const open = edge.opened_per_second === 0 && edge.open > 0;
  return { symbol, text: open ? `${edge.open} open` : format.rate(edge.opened_per_second) };
}

/** Where at its services' sides each edge begins and ends, so that edges do not lie on each other: id -> {from, to}. */
export function ports(edges, places) {
  const out = new Map(edges.map((edge) => [edge.id, { from: 0, to: 0 }]));
  for (const [end, other] of [["from", "to"], ["to", "from"]]) {
    const groups = new Map();
    for (const edge of edges) {
      if (!groups.has(edge[end])) groups.set(edge[end], []);
      groups.get(edge[end]).push(edge);
    }
    for (const group of groups.values()) {
      // What goes past a column bows down, so it stands below what ends in the next one.
      const height = (edge) => places.get(edge[other]).y + (Math.abs(places.get(edge.to).x - places.get(edge.from).x) > 2 * NODE.width ? NODE.height / 2 : 0);
      group.sort((a, b) => height(a) - height(b) || (a.id < b.id ? -1 : 1));
      const step = Math.min(9, 28 / group.length);
      group.forEach((edge, index) => { out.get(edge.id)[end] = (index - (group.length - 1) / 2) * step; });
    }
  }
  return out;
}

/** Four points of the curve between two places of services; `port` as ports() gives it. */
export function curve(from, to, port = { from: 0, to: 0 }) {
  const middle = NODE.height / 2;
  if (from === to) {
    const x = from.x + NODE.width;
    return [[x, from.y + 12], [x + 44, from.y - 6], [x + 44, from.y + NODE.height + 6], [x, from.y + NODE.height - 12]];
  }
  const a = [from.x + NODE.width, from.y + middle + port.from];
  const b = [to.x, to.y + middle + port.to];
  if (b[0] > a[0]) { // to the right; past a column below what may stand in the row
    const pull = Math.max(36, (b[0] - a[0]) * 0.45);
    const bow = b[0] - a[0] > NODE.width && Math.abs(b[1] - a[1]) < NODE.height ? NODE.height * 1.25 : 0;
    return [a, [a[0] + pull, a[1] + bow], [b[0] - pull, b[1] + bow], b];
  }
  if (to.x + NODE.width >= from.x) { // in the same column: around its right side
    const end = [to.x + NODE.width, b[1]];
    const out = Math.max(a[0], end[0]) + 46;
    return [a, [out, a[1]], [out, end[1]], end];
  }
  const start = [from.x, a[1] + 9]; // back to the left, below the way there
  const end = [to.x + NODE.width, b[1] + 9];
  const pull = Math.max(36, (start[0] - end[0]) * 0.45);
  return [start, [start[0] - pull, start[1]], [end[0] + pull, end[1]], end];
}

const short = (number) => Math.round(number * 10) / 10;

/** The curve as an SVG path. */
export function path(points) {
  const [a, b, c, d] = points.map((point) => point.map(short).join(" "));
  return `M${a}C${b} ${c} ${d}`;
}

/** The point at `t` (0 to 1) of the curve. */
export function at(points, t) {
  const s = 1 - t;
  const [a, b, c, d] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
  return [0, 1].map((i) => short(a * points[0][i] + b * points[1][i] + c * points[2][i] + d * points[3][i]));
}

const crosses = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/** Finds places for labels where they cover neither services nor each other; rather a service than each other. */
export class LabelPlaces {
  constructor(positions) {
    this.services = [...positions.values()].map((place) => ({ ...place, ...NODE }));
    this.labels = [];
  }

  /** Centre of a label of this size on the curve. */
  find(points, size) {
    const boxes = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82].map((t) => {
      const [x, y] = at(points, t);
      return { center: [x, y], x: x - size.width / 2 - 2, y: y - size.height / 2 - 2, width: size.width + 4, height: size.height + 4 };
    });
    const free = (box, taken) => !taken.some((other) => crosses(box, other));
    const box = boxes.find((each) => free(each, this.services) && free(each, this.labels)) ?? boxes.find((each) => free(each, this.labels)) ?? boxes[0];
    this.labels.push(box);
    return box.center;
  }
}
