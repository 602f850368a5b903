// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What is known of one connection or one service, beside the map: numbers, the rule, and the newest flows.

import { html, picture, svg } from "/dom.js";
import { kind } from "/edges.js";
import * as format from "/format.js";

const stat = (name, value) => html("div", { class: "stat" }, html("dt", {}, name), html("dd", {}, value));
const section = (title, ...content) => html("section", {}, html("h3", {}, title), ...content);

function badge(edge) {
  if (kind(edge) === "denied") return html("span", { class: "badge denied" }, picture("cross", 9, 9), "refused");
  const secure = edge.security === "mutual_tls";
  const lock = secure || edge.security === "mixed" ? picture("lock", 9, 11, secure ? "lock" : "half-lock") : null;
  return html("span", { class: `badge ${secure ? "secure" : "plain"}` }, lock, format.security(edge));
}

/** A list of names with how often. */
function names(list) {
  return html("ul", { class: "counts" }, ...list.map((item) =>
    html("li", {}, html("span", {}, item.name), html("b", {}, item.count.toLocaleString("en")))));
}

/** The last minute as bars: let through, and refused on top. */
function bars(history) {
  const high = 34;
  const most = Math.max(1, ...history.map((bucket) => bucket.opened + bucket.denied));
  const parts = [];
  history.forEach((bucket, index) => {
    const opened = (bucket.opened / most) * high;
    const denied = (bucket.denied / most) * high;
    parts.push(svg("rect", { class: "base", x: index * 10, y: high - 1, width: 8, height: 1 }));
    if (opened > 0) parts.push(svg("rect", { class: "opened", x: index * 10, y: high - opened, width: 8, height: opened }));
    if (denied > 0) parts.push(svg("rect", { class: "denied", x: index * 10, y: high - opened - denied, width: 8, height: denied }));
  });
  const label = `Connections of the last minute, at most ${most} in 5 seconds`;
  return html("figure", {}, svg("svg", { class: "bars", viewBox: `0 0 ${history.length * 10 - 2} ${high}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...parts),
    html("figcaption", {}, `last minute, at most ${most} in 5 s`));
}

function flowTable(flows) {
  const head = ["Time", "Flow"].map((name) => html("th", { scope: "col" }, name));
  const rows = flows.map((flow) => html("tr", { class: flow.denied ? "denied" : null },
    html("td", { class: "time" }, format.time(flow.time_ms), html("span", { class: "more" }, flow.node)),
    html("td", {}, html("b", {}, flow.outcome.toLowerCase()), ` ${flow.protocol}`,
      html("span", {}, `${flow.source} → ${flow.destination}`), flow.detail ? html("span", { class: "more" }, flow.detail) : null)));
  return html("div", { class: "flows" },
    html("table", {}, html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows)));
}

export class Details {
  /** `goTo(id)` shows an edge; `closed()` is told when the user closes the panel; `resized(pixels)` how wide it is. */
  constructor(panel, goTo, closed, resized) {
    Object.assign(this, { panel, goTo, closed, resized, shown: "", id: null });
    panel.addEventListener("click", (event) => {
      if (event.target.closest(".close")) this.closed();
      const link = event.target.closest("[data-go]");
      if (link) this.goTo(link.dataset.go);
    });
  }

  get open() {
    return !this.panel.hidden;
  }

  hide() {
    this.panel.hidden = true;
    this.panel.replaceChildren();
    this.resized(0);
    this.shown = "";
    this.id = null;
  }

  /** Puts content in; keeps where the reader and the keyboard are when it is the same subject. */
  fill(id, title, content, news) {
    const shown = JSON.stringify([id, news]);
    if (shown === this.shown) return;
    this.shown = shown;
    const again = this.id === id;
    const active = document.activeElement;
    const keep = again && this.panel.contains(active) ? { go: active.dataset.go, kind: active.className } : null;
    const scroll = again ? this.panel.scrollTop : 0;
    this.id = id;
    this.panel.replaceChildren(html("div", { class: "head" }, html("h2", { id: "details-title", tabindex: -1 }, ...title),
      html("button", { type: "button", class: "close", "aria-label": "Close details" }, "×")), ...content.filter(Boolean));
    this.panel.hidden = false;
    this.resized(this.panel.offsetWidth + 12);
    this.panel.scrollTop = scroll;
    if (!again) this.panel.querySelector("h2").focus({ preventScroll: true });
    else if (keep) [...this.panel.querySelectorAll("[data-go], .close, h2")].find((each) => each.dataset.go === keep.go && each.className === keep.kind)?.focus({ preventScroll: true });
  }

  edge(edge, labels) {
    const both = edge.sent_per_second + edge.received_per_second;
    const reached = edge.opened > 0 || edge.open > 0;
    const numbers = html("dl", { class: "stats" },
      stat("Connections", format.rate(edge.opened_per_second)), stat("Open now", edge.open.toLocaleString("en")),
      stat("Bytes", `${format.bytes(both)}/s`), stat(edge.security === "mutual_tls" ? "To its agent" : "Round trip", format.rtt(edge.rtt_us)),
      stat("There", `${format.bytes(edge.sent_per_second)}/s`), stat("Back", `${format.bytes(edge.received_per_second)}/s`),
      stat("Refused", edge.denied_per_second > 0 ? format.rate(edge.denied_per_second) : edge.denied.toLocaleString("en")), stat("Since start", edge.opened.toLocaleString("en")));
    const ids = [edge.source_principal, edge.destination_principal];
    this.fill(edge.id, [labels.get(edge.from), html("span", { class: "arrow", "aria-label": "to" }, " → "), labels.get(edge.to)], [
      html("p", { class: "badges" }, badge(edge)),
      numbers,
      bars(edge.history),
      edge.denials.length > 0 ? section("Refused because", names(edge.denials)) : null,
      edge.rules.length > 0 || (reached && edge.denials.length === 0) ? section("Allowed by", edge.rules.length > 0 ? names(edge.rules) : html("p", { class: "soft" }, "No policy selects an end: allowed by default.")) : null,
      edge.services.length > 0 ? section("Through Service", names(edge.services)) : null,
      ids.some(Boolean) ? section("Proven identities", html("ul", { class: "ids" }, ...ids.map((id) => html("li", {}, id || "unknown")))) : null,
      section("Newest flows", edge.flows.length > 0 ? flowTable(edge.flows) : html("p", { class: "soft" }, "None since this page's program started; its connections were open before.")),
    ], edge);
  }

  node(node, graph, labels) {
    const side = (title, edges, end) => edges.length === 0 ? null : section(title, html("ul", { class: "links" }, ...edges.map((edge) =>
      html("li", {}, html("button", { type: "button", "data-go": edge.id, class: kind(edge) },
        html("span", {}, labels.get(edge[end])), html("small", {}, kind(edge) === "denied" ? `${edge.denied} refused` : format.rate(edge.opened_per_second)),
        edge.security === "mutual_tls" ? picture("lock", 9, 11) : null)))));
    const incoming = graph.edges.filter((edge) => edge.to === node.id);
    const outgoing = graph.edges.filter((edge) => edge.from === node.id);
    const sum = (edges, field) => edges.reduce((total, edge) => total + edge[field], 0);
    const numbers = html("dl", { class: "stats" },
      stat("Comes in", format.rate(sum(incoming, "opened_per_second"))), stat("Goes out", format.rate(sum(outgoing, "opened_per_second"))),
      stat("Pods", node.kind === "workload" && node.pods > 0 ? String(node.pods) : "–"), stat("Open now", sum(incoming, "open").toLocaleString("en")));
    this.fill(node.id, [labels.get(node.id)], [numbers, side("Called by", incoming, "from"), side("Calls", outgoing, "to"),
      incoming.length + outgoing.length === 0 ? html("p", { class: "soft" }, "No traffic.") : null], [node, incoming, outgoing]);
  }
}
