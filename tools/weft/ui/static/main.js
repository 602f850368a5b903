// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Connects all parts of the page: asks for the graph every two seconds, chooses what is shown, and shows it.

import * as api from "/api.js";
import { Camera } from "/camera.js";
import { Details } from "/details.js";
import { html, say, set } from "/dom.js";
import { kind } from "/edges.js";
import { count } from "/format.js";
import { ServiceMap, showAgents } from "/map.js";

const EVERY = 2000; // milliseconds
const $ = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

let whole = { nodes: [], edges: [], agents: [], folded: 0 };
let subject = null; // {type, id, opener}: what the details show
let knownDenied = null;

const camera = new Camera($("map"), $("world"));
const map = new ServiceMap($("map"), camera, (type, id) => open(type, id, document.activeElement));
const details = new Details($("details"), (id) => open("edge", id, subject?.opener), close, (pixels) => camera.cover(pixels));

/** What a node itself does, as agents and probes of the kubelet. */
const ofNodes = (edge, nodes) => [edge.from, edge.to].some((id) => ["node", "host", "remote-node"].includes(nodes.get(id).kind));

/** The part of the graph that the choices in the head leave. */
function shown() {
  const which = chosen("which");
  const namespace = $("namespace").value;
  const text = $("find").value.trim().toLowerCase();
  const nodes = new Map(whole.nodes.map((node) => [node.id, node]));
  const inside = (id) => namespace === "" || nodes.get(id).namespace === namespace;
  const edges = whole.edges.filter((edge) => (inside(edge.from) || inside(edge.to)) &&
    ($("own").checked || !ofNodes(edge, nodes)) &&
    (which === "all" || (which === "denied" ? kind(edge) === "denied" : kind(edge) === "plain")));
  const used = new Set(edges.flatMap((edge) => [edge.from, edge.to]));
  const idle = $("idle").checked && which === "all";
  const kept = whole.nodes.filter((node) => used.has(node.id) || (idle && inside(node.id)));
  const hits = kept.filter((node) => `${node.namespace}/${node.name}`.toLowerCase().includes(text)).map((node) => node.id);
  return { graph: { nodes: kept, edges }, found: text === "" ? null : new Set(hits) };
}

function render() {
  const { graph, found } = shown();
  map.show(graph, chosen("metric"), found);
  const denied = graph.edges.filter((edge) => kind(edge) === "denied").length;
  const workloads = graph.nodes.filter((node) => node.kind === "workload").length;
  const folded = whole.folded > 0 ? ` · ${count(whole.folded, "flow")} without room of their own` : "";
  say($("summary"), `${count(workloads, "service")} · ${count(graph.edges.length, "connection")}${folded}`);
  $("summary").classList.toggle("alarm", false);
  say($("refused"), denied > 0 ? `${denied} refused` : "");
  set($("empty"), "hidden", graph.nodes.length > 0 ? "" : null);
  if (graph.nodes.length === 0) say($("empty"), whole.edges.length > 0 ? "Nothing matches these choices." : "No connection of a workload was seen in the last minutes.");
  if (subject?.type === "node") {
    const node = whole.nodes.find((each) => each.id === subject.id);
    if (node) details.node(node, whole, namesOf());
    else close();
  }
}

const namesOf = () => new Map(whole.nodes.map((node) => [node.id, node.namespace ? `${node.namespace}/${node.name}` : node.name]));

function namespaces() {
  const list = [...new Set(whole.nodes.map((node) => node.namespace).filter(Boolean))].sort();
  const select = $("namespace");
  if ([...select.options].slice(1).map((option) => option.value).join() === list.join()) return;
  const value = select.value;
  select.replaceChildren(select.options[0], ...list.map((name) => html("option", { value: name }, name)));
  select.value = list.includes(value) ? value : "";
}

/** Tells who does not see the picture of what is new and bad. */
function news() {
  const names = namesOf();
  const nodes = new Map(whole.nodes.map((node) => [node.id, node]));
  const denied = new Map(whole.edges.filter((edge) => kind(edge) === "denied" && !ofNodes(edge, nodes)).map((edge) => [edge.id, `${names.get(edge.from)} to ${names.get(edge.to)}`]));
  const fresh = knownDenied === null ? [] : [...denied.keys()].filter((id) => !knownDenied.has(id));
  knownDenied = denied;
  if (fresh.length > 0) say($("news"), `Refused: ${fresh.slice(0, 3).map((id) => denied.get(id)).join("; ")}${fresh.length > 3 ? ` and ${fresh.length - 3} more` : ""}`);
}

async function showSubject() {
  if (subject?.type !== "edge") return;
  const wanted = subject.id;
  const edge = await api.edge(wanted);
  if (subject?.id !== wanted) return; // another was chosen meanwhile
  if (edge) details.edge(edge, namesOf());
  else close();
}

function open(type, id, opener) {
  subject = { type, id, opener };
  map.select(id);
  if (type === "node") render();
  else showSubject().catch(trouble);
}

function close() {
  const { type, id, opener } = subject ?? {};
  subject = null;
  const within = details.open && ($("details").contains(document.activeElement) || document.activeElement === document.body);
  details.hide();
  map.select(null);
  if (!within || !id) return;
  const from = opener?.dataset?.type; // the service whose list led here, or the connection itself
  if (from && opener.isConnected) map.focus(from, opener.dataset.id);
  else map.focus(type, id);
}

function trouble(error) {
  say($("summary"), error.message);
  $("summary").classList.add("alarm");
  if (whole.nodes.length === 0) {
    say($("empty"), error.message);
    $("empty").hidden = false;
  }
  say($("news"), error.message);
}

async function refresh() {
  if (!document.hidden) {
    try {
      whole = await api.graph();
      namespaces();
      showAgents($("agents"), whole.agents);
      render();
      news();
      await showSubject();
    } catch (error) {
      trouble(error);
    }
  }
  setTimeout(refresh, EVERY);
}

for (const name of ["find", "namespace", "idle", "own"]) $(name).addEventListener("input", render);
for (const input of document.querySelectorAll("input[type=radio]")) input.addEventListener("change", render);
$("zoom-in").addEventListener("click", () => camera.zoom(1.25));
$("zoom-out").addEventListener("click", () => camera.zoom(0.8));
$("zoom-fit").addEventListener("click", () => camera.fit());
$("find").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  const first = [...(shown().found ?? [])].sort()[0];
  if (first) map.focus("node", first);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && subject) close();
  else if (event.key === "/" && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("find").focus();
  }
});
refresh();
