// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where does each service stand? Layers from left to right (who calls stands left of whom it calls), one band for each
// namespace. Pure, and a function of the set of nodes and edges only: the same graph always looks the same, in whatever
// order it comes, and a service that comes or goes moves only what is below it in its own column, or is called by it.

export const NODE = { width: 172, height: 46 };
const GAP = { x: 108, packed: 64, y: 16, column: 18, band: 26, head: 30, side: 18 };
const ROWS = 8; // of one column; a layer with more services has several columns
const BANDS_ALIGNED = 6; // up to so many bands share their layers; more are packed like bricks
const by = (key) => (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);

/** Band of a node: its namespace; "" for what is no workload. */
const bandOf = (node) => (node.kind === "workload" || node.kind === "service" ? node.namespace : "");

/** Ids in the order in which a walk along `next` leaves them; not recursive, as chains may be long. */
function leaving(ids, next, seen = new Set()) {
  const order = [];
  for (const root of ids) {
    if (seen.has(root)) continue;
    seen.add(root);
    const stack = [[root, 0]];
    while (stack.length > 0) {
      const top = stack.at(-1);
      const to = next.get(top[0])[top[1]];
      top[1] += 1;
      if (to === undefined) order.push(stack.pop()[0]);
      else if (!seen.has(to)) {
        seen.add(to);
        stack.push([to, 0]);
      }
    }
  }
  return order;
}

/** Layer of each of `ids`: behind all who call it. Where calls go in a circle, as far from its entries as one must go. */
function layers(ids, edges) {
  const next = new Map(ids.map((id) => [id, []]));
  const callers = new Map(ids.map((id) => [id, []]));
  for (const { from, to } of edges) {
    if (from === to || !next.has(from) || !next.has(to)) continue;
    next.get(from).push(to);
    callers.get(to).push(from);
  }
  for (const list of [...next.values(), ...callers.values()]) list.sort();
  const layer = new Map();
  const seen = new Set();
  // Walked backwards from who was left last, what is reached is one circle, and circles come in order of calls.
  for (const root of leaving(ids, next).reverse()) {
    if (seen.has(root)) continue;
    const circle = new Set(leaving([root], callers, seen));
    const outside = (id) => callers.get(id).filter((caller) => !circle.has(caller)).map((caller) => layer.get(caller) + 1);
    const first = Math.max(0, ...[...circle].flatMap(outside));
    let reached = [...circle].filter((id) => outside(id).length > 0);
    if (reached.length === 0) reached = [[...circle].sort()[0]];
    for (let level = first; reached.length > 0; level += 1) {
      for (const id of reached) layer.set(id, level);
      reached = [...new Set(reached.flatMap((id) => next.get(id)))].filter((id) => circle.has(id) && !layer.has(id));
    }
  }
  return layer;
}

/** Nodes of one band and layer, those whose callers stand higher first. */
function ordered(nodes, callers, rank) {
  const place = (node) => {
    const ranks = (callers.get(node.id) ?? []).filter((id) => rank.has(id)).map((id) => rank.get(id));
    return ranks.length === 0 ? Number.MAX_SAFE_INTEGER : ranks.reduce((a, b) => a + b, 0) / ranks.length;
  };
  return nodes.map((node) => [place(node), node]).sort((a, b) => a[0] - b[0] || by((x) => x.id)(a[1], b[1])).map(([, node]) => node);
}

/** Columns of one band: [{layer, nodes}], each of at most ROWS. */
function columnsOf(nodes, layer, callers, rank) {
  const columns = [];
  for (const level of [...new Set(nodes.map((node) => layer.get(node.id)))].sort((a, b) => a - b)) {
    const members = ordered(nodes.filter((node) => layer.get(node.id) === level), callers, rank);
    members.forEach((node, index) => rank.set(node.id, index));
    for (let at = 0; at < members.length; at += ROWS) columns.push({ level, nodes: members.slice(at, at + ROWS) });
  }
  return columns;
}

/** x of each column: `start` gives where a layer begins; without, layers follow each other. */
function place(columns, start) {
  let x = 0;
  let last = null;
  for (const column of columns) {
    if (last !== null && column.level === last) x += NODE.width + GAP.column;
    else if (start) x = start.get(column.level);
    else if (last !== null) x += NODE.width + GAP.packed;
    column.x = x;
    last = column.level;
  }
  return x + NODE.width;
}

/** {positions: Map id -> {x, y}, bands: [{name, x, y, width, height}], width, height} */
export function layout(givenNodes, givenEdges) {
  const nodes = [...givenNodes].sort(by((node) => node.id));
  const edges = [...givenEdges].sort(by((edge) => edge.id));
  const layer = layers(nodes.map((node) => node.id), edges);
  const callers = new Map();
  for (const edge of edges) if (edge.from !== edge.to) callers.set(edge.to, [...(callers.get(edge.to) ?? []), edge.from]);
  const names = [...new Set(nodes.map(bandOf))].sort();
  const rank = new Map();
  const aligned = names.length <= BANDS_ALIGNED;
  const bands = names.map((name) => {
    const members = nodes.filter((node) => bandOf(node) === name);
    const own = aligned ? layer : layers(members.map((node) => node.id), edges);
    return { name, columns: columnsOf(members, own, callers, rank) };
  });

  let start = null;
  if (aligned) {
    start = new Map();
    let x = 0;
    for (const level of [...new Set(layer.values())].sort((a, b) => a - b)) {
      start.set(level, x);
      const most = Math.max(...bands.map((band) => band.columns.filter((column) => column.level === level).length));
      x += most * NODE.width + (most - 1) * GAP.column + GAP.x;
    }
  }
  for (const band of bands) {
    band.inner = place(band.columns, start);
    band.left = start ? Math.min(...band.columns.map((column) => column.x)) : 0;
    const rows = Math.max(...band.columns.map((column) => column.nodes.length));
    band.width = band.inner - band.left + 2 * GAP.side;
    band.height = GAP.head + rows * NODE.height + (rows - 1) * GAP.y + GAP.side;
  }
  return arranged(bands, aligned);
}

/** Aligned bands stand below each other; others fill rows as wide as makes the whole a little wider than high. */
function arranged(bands, aligned) {
  const positions = new Map();
  const area = bands.reduce((sum, band) => sum + (band.width + GAP.band) * (band.height + GAP.band), 0);
  const limit = aligned ? 0 : Math.max(Math.sqrt(area * 1.7), ...bands.map((band) => band.width));
  let x = 0;
  let y = 0;
  let row = 0;
  const out = { positions, bands: [], width: 0, height: 0 };
  for (const band of bands) {
    if (x > 0 && (aligned || x + band.width > limit)) {
      x = 0;
      y += row + GAP.band;
      row = 0;
    }
    const left = aligned ? band.left : x;
    const inside = left + GAP.side - band.left;
    const middle = (band.height - GAP.head - GAP.side) / 2;
    for (const column of band.columns) {
      const high = column.nodes.length * NODE.height + (column.nodes.length - 1) * GAP.y;
      // A short column stands in the middle, on the grid of rows, so that edges run level.
      const top = aligned ? Math.round((middle - high / 2) / ((NODE.height + GAP.y) / 2)) * ((NODE.height + GAP.y) / 2) : 0;
      column.nodes.forEach((node, index) => {
        positions.set(node.id, { x: inside + column.x, y: y + GAP.head + top + index * (NODE.height + GAP.y) });
      });
    }
    out.bands.push({ name: band.name, x: left, y, width: band.width, height: band.height });
    out.width = Math.max(out.width, left + band.width);
    row = Math.max(row, band.height);
    out.height = Math.max(out.height, y + row);
    x += band.width + GAP.band;
  }
  return out;
}
