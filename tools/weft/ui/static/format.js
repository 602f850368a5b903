// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Numbers as people read them. Pure.

const trim = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)).replace(/\.?0+$/, (zeros) => (zeros.startsWith(".") ? "" : zeros));

/** "12/s", "0.25/s", "<0.01/s", "3.2k/s". */
export function rate(perSecond) {
  if (perSecond <= 0) return "0/s";
  if (perSecond < 0.01) return "<0.01/s";
  return perSecond >= 1000 ? `${trim(perSecond / 1000)}k/s` : `${trim(perSecond)}/s`;
}

/** "512 B", "1.2 KiB". */
export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : trim(value)} ${units[unit]}`;
}

/** Microseconds as "85 µs", "3.2 ms"; "–" when unknown. */
export function rtt(microseconds) {
  if (microseconds === null || microseconds === undefined) return "–";
  return microseconds < 1000 ? `${Math.round(microseconds)} µs` : `${trim(microseconds / 1000)} ms`;
}

/** "1 pod", "3 pods". */
export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many ?? `${one}s`}`;
}

/** Time of day with seconds, of the viewer's time zone. */
export function time(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString("en-GB");
}

const SECURITY = { mutual_tls: "mutual TLS", mixed: "partly by mutual TLS", none: "not encrypted", unknown: "nothing was let through" };

/** What protects an edge, in words. */
export function security(edge) {
  return SECURITY[edge.security] ?? edge.security;
}

/** One sentence for who does not see the picture. */
export function sentence(edge, names) {
  const parts = [`${names.get(edge.from)} to ${names.get(edge.to)}`];
  if (edge.opened > 0 || edge.open > 0) {
    parts.push(`${rate(edge.opened_per_second)} connections`, `${bytes(edge.sent_per_second + edge.received_per_second)} a second`, security(edge));
    if (edge.rtt_us !== null) parts.push(`round trip ${rtt(edge.rtt_us)}`);
  }
  if (edge.denied > 0) parts.push(`${count(edge.denied, "attempt")} refused`);
  return parts.join(", ");
}
