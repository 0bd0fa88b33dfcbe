// What enters: Prometheus' text. What leaves: sums and quantiles of what happened between two readings.
// This module does not know where the text comes from.

const SAMPLE = /^(\w+)(?:\{(.*)\})? (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Give {name, labels, value} of each line. */
export function parse(text) {
  return text.split("\n").flatMap((line) => {
    const [, name, labels = "", value] = SAMPLE.exec(line) ?? [];
    if (!name) return [];
    return { name, labels: Object.fromEntries([...labels.matchAll(LABEL)].map((m) => m.slice(1))), value: Number(value) };
  });
}

export function total(samples, name) {
  return samples.filter((each) => each.name === name).reduce((sum, each) => sum + each.value, 0);
}

/** Give the buckets of a route's requests, {upper bound: count}. */
export function buckets(samples, route) {
  const found = {};
  for (const { name, labels, value } of samples) {
    if (name !== "mynet_http_request_duration_seconds_bucket" || labels.route !== route) continue;
    found[labels.le] = (found[labels.le] ?? 0) + value;
  }
  return found;
}

/** Give a quantile in seconds, between the buckets' bounds in proportion; null where nothing happened. */
export function quantile(q, now, before = {}) {
  const bounds = Object.keys(now)
    .map((bound) => [bound === "+Inf" ? Infinity : Number(bound), now[bound] - (before[bound] ?? 0)])
    .sort(([a], [b]) => a - b);
  const count = bounds.at(-1)?.[1] ?? 0;
  if (count <= 0) return null;
  let [low, under] = [0, 0];
  for (const [bound, upTo] of bounds) {
    if (upTo >= q * count) {
      if (bound === Infinity) return low;
      return low + ((bound - low) * (q * count - under)) / Math.max(1, upTo - under);
    }
    [low, under] = [bound, upTo];
  }
  return low;
}
