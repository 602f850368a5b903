// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Asks the program that serves this page. The key came behind '#' in the address, which browsers send to nobody; it is
// kept for this tab, so that a reload works.

const KEY = "weft-key";

function key() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY) ?? "";
}

let kept = key();
addEventListener("hashchange", () => { kept = key(); }); // the new address was put into the tab of an old one

async function ask(path) {
  const answer = await fetch(path, { headers: { "X-Weft-Key": kept }, signal: AbortSignal.timeout(10000) }).catch(() => {
    throw new Error("“weft ui” does not answer any more. This is the last that was seen.");
  });
  if (answer.status === 404) return null;
  if (answer.status === 401) throw new Error("This page has no valid key. Open the address that “weft ui” printed.");
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

/** Nodes, edges and agents. */
export const graph = () => ask("/api/graph");
/** One edge with flows and rules; null when it is gone. */
export const edge = (id) => ask(`/api/edge?id=${encodeURIComponent(id)}`);
