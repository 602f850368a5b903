// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The picture: keeps one element for each service and connection and changes only what is different, so that an
// update without news touches nothing. Knows keys and pointers; what a choice means is the caller's.

import { html, say, set, svg } from "/dom.js";
import { at, curve, kind, label, LabelPlaces, path, ports, quiet, width } from "/edges.js";
import { count, rate, sentence } from "/format.js";
import { layout, NODE } from "/layout.js";

const LABELS = 250; // with more connections only those have labels that are refused or near what is looked at
const HEIGHT = 18;
const NAME = 21; // letters that fit into a service's box
const cut = (text) => (text.length > NAME ? `${text.slice(0, NAME - 1)}…` : text);

/** Keeps elements by id: makes, updates, and removes those that are gone; in the order of ids. */
function keep(map, parent, items, make, update) {
  const ids = new Set(items.map((item) => item.id));
  for (const [id, entry] of map) {
    if (ids.has(id)) continue;
    for (const element of Object.values(entry)) element.remove?.();
    map.delete(id);
  }
  for (const item of items) {
    let entry = map.get(item.id);
    if (!entry) {
      entry = make(item);
      map.set(item.id, entry);
    }
    update(item, entry);
  }
}

export class ServiceMap {
  /** `choose(type, id)` is called for a click or Enter; type is "node" or "edge". */
  constructor(view, camera, choose) {
    Object.assign(this, { view, camera, choose, nodes: new Map(), edges: new Map(), bands: new Map() });
    Object.assign(this, { places: new Map(), curves: new Map(), names: new Map(), shape: "", current: { node: null, edge: null } });
    Object.assign(this, { selected: null, pointed: null, metric: "rate", graph: { nodes: [], edges: [] } });
    this.layers = Object.fromEntries(["bands", "lines", "nodes", "chips"].map((id) => [id, view.querySelector(`#${id}`)]));
    view.addEventListener("click", (event) => this.picked(event));
    view.addEventListener("keydown", (event) => this.key(event));
    for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
      view.addEventListener(on, (event) => this.point(event.target.closest("[data-id]")));
      view.addEventListener(off, () => this.point(null));
    }
  }

  /** Shows a graph; `metric` is what stands on connections; `found` the ids that a search found, or null. */
  show(graph, metric, found) {
    Object.assign(this, { graph, metric, found });
    this.names = new Map(graph.nodes.map((node) => [node.id, node.namespace ? `${node.namespace}/${node.name}` : node.name]));
    const shape = JSON.stringify([graph.nodes.map((node) => node.id), graph.edges.map((edge) => edge.id)]);
    if (shape !== this.shape) {
      this.shape = shape;
      const all = layout(graph.nodes, graph.edges);
      this.places = all.positions;
      const port = ports(graph.edges, all.positions);
      this.curves = new Map(graph.edges.map((edge) => [edge.id, curve(all.positions.get(edge.from), all.positions.get(edge.to), port.get(edge.id))]));
      this.showBands(all.bands);
      this.camera.extent(all.width, all.height);
    }
    this.draw();
  }

  draw() {
    this.near = this.nearTo(this.selected ?? this.pointed);
    this.load = new Map();
    this.refusing = new Set();
    for (const edge of this.graph.edges) {
      this.load.set(edge.to, (this.load.get(edge.to) ?? 0) + edge.opened_per_second);
      if (kind(edge) === "denied") this.refusing.add(edge.to);
    }
    this.labels = new LabelPlaces(this.places);
    this.lively = this.graph.edges.length <= LABELS;
    keep(this.nodes, this.layers.nodes, this.graph.nodes, () => this.makeNode(), (node, entry) => this.updateNode(node, entry));
    keep(this.edges, this.layers.lines, this.graph.edges, (edge) => this.makeEdge(edge), (edge, entry) => this.updateEdge(edge, entry));
    this.view.classList.toggle("dense", !this.lively);
    this.view.classList.toggle("focused", this.near !== null || this.found !== null);
    this.rove("node", this.nodes, (entry) => entry.box);
    this.rove("edge", this.edges, (entry) => entry.chip);
  }

  showBands(bands) {
    const items = bands.map((band) => ({ ...band, id: band.name }));
    keep(this.bands, this.layers.bands, items, () => {
      const entry = { box: svg("rect", { class: "band", rx: 14 }), text: svg("text", { class: "band-name" }) };
      this.layers.bands.append(entry.box, entry.text);
      return entry;
    }, (band, { box, text }) => {
      for (const name of ["x", "y", "width", "height"]) set(box, name, band[name]);
      set(text, "x", band.x + 14);
      set(text, "y", band.y + 20);
      say(text, band.name || "others");
    });
  }

  makeNode() {
    const entry = {
      box: svg("g", { role: "button", tabindex: -1 }),
      rect: svg("rect", { width: NODE.width, height: NODE.height, rx: 9 }),
      name: svg("text", { class: "name", x: 13, y: 20 }),
      note: svg("text", { class: "note", x: 13, y: 36 }),
    };
    entry.box.append(entry.rect, entry.name, entry.note);
    this.layers.nodes.append(entry.box);
    return entry;
  }

  updateNode(node, { box, name, note }) {
    const place = this.places.get(node.id);
    const load = this.load.get(node.id) ?? 0;
    const refused = this.refusing.has(node.id);
    const parts = [node.kind === "workload" ? (node.pods > 0 ? count(node.pods, "pod") : "") : KINDS[node.kind] ?? node.kind, load > 0 ? `${rate(load)} in` : ""];
    set(box, "data-id", node.id);
    set(box, "data-type", "node");
    set(box, "transform", `translate(${place.x} ${place.y})`);
    set(box, "class", ["node", node.kind, refused && "refuses", ...this.standing(node.id)].filter(Boolean).join(" "));
    set(box, "aria-label", [this.names.get(node.id), ...parts, refused && "refuses connections"].filter(Boolean).join(", "));
    say(name, cut(node.name));
    say(note, parts.filter(Boolean).join(" · "));
  }

  makeEdge() {
    const entry = { hit: svg("path", { class: "hit" }), line: svg("path"), chip: svg("g", { role: "button", tabindex: -1 }) };
    this.layers.lines.append(entry.hit, entry.line);
    this.layers.chips.append(entry.chip);
    return entry;
  }

  updateEdge(edge, { hit, line, chip }) {
    const points = this.curves.get(edge.id);
    const look = [kind(edge), quiet(edge) && "quiet", ...this.standing(edge.id)].filter(Boolean).join(" ");
    const d = path(points);
    for (const element of [hit, chip]) {
      set(element, "data-id", edge.id);
      set(element, "data-type", "edge");
    }
    set(hit, "d", d);
    set(line, "d", d);
    const before = line.getAttribute("class") ?? "";
    set(line, "class", `line ${look}`);
    // Refusals are painted over all other lines.
    if (kind(edge) === "denied" && !before.includes("denied")) this.layers.lines.append(line);
    set(line, "stroke-width", width(edge));
    set(line, "marker-end", `url(#tip-${kind(edge)})`);
    set(chip, "class", `chip ${look}`);
    set(chip, "aria-label", sentence(edge, this.names));
    const wanted = (this.lively && (edge.open > 0 || !quiet(edge))) || kind(edge) === "denied" || this.near?.has(edge.id);
    if (wanted) this.fillChip(edge, chip, points);
    else if (chip.firstChild) chip.replaceChildren();
  }

  fillChip(edge, chip, points) {
    const { symbol, text } = label(edge, this.metric);
    const size = { width: Math.round(text.length * 6.3) + (symbol ? 26 : 14), height: HEIGHT };
    const [x, y] = this.labels.find(points, size);
    set(chip, "transform", `translate(${x} ${y})`);
    const content = `${symbol}|${text}`;
    if (chip.firstChild && chip.dataset.content === content) return;
    set(chip, "data-content", content);
    const left = -size.width / 2;
    const parts = [svg("rect", { x: left, y: -HEIGHT / 2, width: size.width, height: HEIGHT, rx: HEIGHT / 2 })];
    if (symbol) parts.push(svg("use", { class: symbol === "cross" ? "cross" : "lock", href: `#${symbol}`, x: left + 7, y: symbol === "cross" ? -4.5 : -5.5, width: 9, height: symbol === "cross" ? 9 : 11 }));
    parts.push(svg("text", { x: left + (symbol ? 19 : 7), y: 4 }));
    say(parts.at(-1), text);
    chip.replaceChildren(...parts);
  }

  /** Classes for what is selected, near to it, or found. */
  standing(id) {
    return [this.selected === id && "selected", this.near?.has(id) && "near", this.found?.has(id) && "found"];
  }

  /** Ids of a service with its connections, or a connection with its ends; null for nothing. */
  nearTo(id) {
    if (id === null || !(this.nodes.has(id) || this.edges.has(id))) return null;
    const near = new Set([id]);
    for (const edge of this.graph.edges) {
      if (edge.id === id || edge.from === id || edge.to === id) [edge.id, edge.from, edge.to].forEach((other) => near.add(other));
    }
    return near;
  }

  /** One service and one connection are reached by Tab; arrow keys go on from there. */
  rove(type, map, target) {
    if (!map.has(this.current[type])) this.current[type] = this.order(type)[0] ?? null;
    for (const [id, entry] of map) set(target(entry), "tabindex", id === this.current[type] ? 0 : -1);
  }

  /** Ids as arrow keys walk them: services by place, connections by the places of their ends. */
  order(type) {
    const value = (id) => {
      const place = this.places.get(id);
      return place.x * 1e5 + place.y;
    };
    if (type === "node") return [...this.nodes.keys()].sort((a, b) => value(a) - value(b));
    const edges = [...this.graph.edges];
    return edges.sort((a, b) => value(a.from) - value(b.from) || value(a.to) - value(b.to)).map((edge) => edge.id);
  }

  point(element) {
    const id = element?.dataset.id ?? null;
    if (id === this.pointed) return;
    this.pointed = id;
    if (this.selected === null) this.draw();
  }

  /** What the details show; null: nothing. */
  select(id) {
    this.selected = id;
    this.draw();
  }

  focus(type, id) {
    const entry = (type === "node" ? this.nodes : this.edges).get(id);
    if (!entry) return;
    this.current[type] = id;
    this.rove(type, type === "node" ? this.nodes : this.edges, (each) => each.box ?? each.chip);
    (entry.box ?? entry.chip).focus({ preventScroll: true });
    if (type === "node") this.camera.reveal(this.places.get(id), NODE);
    else {
      const [x, y] = at(this.curves.get(id), 0.5);
      this.camera.reveal({ x: x - 40, y: y - 20 }, { width: 80, height: 40 });
    }
  }

  picked(event) {
    const element = event.target.closest("[data-id]");
    if (element) this.choose(element.dataset.type, element.dataset.id);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const element = event.target.closest?.("[data-id]");
    const zoom = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
    if (zoom) this.camera.zoom(zoom);
    else if (event.key === "0") this.camera.fit();
    else if (!element) return;
    else if (event.key === "Enter" || event.key === " ") this.choose(element.dataset.type, element.dataset.id);
    else if (!this.step(event.key, element.dataset.type, element.dataset.id)) return;
    event.preventDefault();
  }

  step(key, type, id) {
    const order = this.order(type);
    const index = order.indexOf(id);
    let to;
    if (key === "Home") to = order[0];
    else if (key === "End") to = order.at(-1);
    else if (type === "edge") to = order[index + ({ ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key] ?? NaN)];
    else to = this.neighbour(key, id);
    if (!key.startsWith("Arrow") && to === undefined) return false;
    if (to !== undefined) this.focus(type, to);
    return true;
  }

  /** The service that is nearest in the direction of an arrow key. */
  neighbour(key, id) {
    const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key] ?? [0, 0];
    const from = this.places.get(id);
    let best;
    let least = Infinity;
    for (const [other, place] of this.places) {
      const along = (place.x - from.x) * dx + (place.y - from.y) * dy;
      const aside = Math.abs((place.x - from.x) * dy) + Math.abs((place.y - from.y) * dx);
      if (along > 0 && along + 2.5 * aside < least) {
        least = along + 2.5 * aside;
        best = other;
      }
    }
    return best;
  }
}

const KINDS = { service: "no backend", node: "a node", host: "its processes", "remote-node": "their processes", world: "addresses", other: "no room for each" };

/** The list of nodes in the page's head: who answers, and what is wrong. */
export function showAgents(list, agents) {
  const news = JSON.stringify(agents);
  if (list.dataset.shown === news) return;
  list.dataset.shown = news;
  list.replaceChildren(...agents.map((agent) => {
    const state = !agent.connected ? "away" : agent.problems > 0 || agent.lost > 0 ? "needs attention" : "connected";
    const lost = agent.lost > 0 ? `; ${count(agent.lost, "flow")} lost` : "";
    const problems = agent.problems > 0 ? `; see weft status: ${count(agent.problems, "problem")}` : "";
    const item = html("li", { class: state.replace(" ", "-"), title: agent.error || `${agent.socket}: version ${agent.version}, mutual TLS by ${agent.mutual_tls_tier || "nobody"}${problems}${lost}` });
    item.append(html("span", { class: "dot", "aria-hidden": "true" }), agent.node || agent.socket, html("span", { class: "hidden" }, `, ${agent.error || state}`));
    return item;
  }));
}
