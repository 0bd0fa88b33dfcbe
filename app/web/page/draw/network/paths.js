// Arithmetic on weights and activations: the strongest paths to a unit, and what it responds to.
const BRANCHES = [1, 2, 2, 3]; // paths that go on from a unit, by its layer

/** Return the edges of the strongest paths to a unit, each {layer, from, to, share} of the strongest.
 *
 * `activations` are those of the input and of the hidden layers; layer 0 of `weights` is fed by the input.
 * What an edge contributes is its weight times the activation where it begins. */
export function strongestPaths(weights, activations, layer, unit) {
  const edges = new Map();
  let units = [unit];
  for (let at = layer; at >= 0; at--) {
    const next = new Set();
    for (const to of units) {
      for (const [from, value] of strongest(weights[at], activations[at], to, BRANCHES[at])) {
        edges.set(`${at} ${from} ${to}`, { layer: at, from, to, value });
        next.add(from);
      }
    }
    units = [...next];
  }
  return withShares([...edges.values()]);
}

function strongest({ weights, inputs }, activations, unit, count) {
  const row = weights.subarray(unit * inputs, (unit + 1) * inputs);
  const contributions = Array.from(row, (weight, i) => [i, weight * activations[i]]);
  return contributions
    .filter(([, value]) => value > 0)
    .sort((a, b) => b[1] - a[1])
    .slice(0, count);
}

function withShares(edges) {
  const largest = [0, 0, 0, 0];
  for (const { layer, value } of edges) largest[layer] = Math.max(largest[layer], value);
  return edges.map((edge) => ({ ...edge, share: edge.value / largest[edge.layer] }));
}

/** Return the gradient of a unit with respect to the 784 pixels: for the first layer, its weights. */
export function response(weights, activations, layer, unit) {
  const { inputs } = weights[layer];
  let gradient = weights[layer].weights.slice(unit * inputs, (unit + 1) * inputs);
  for (let at = layer - 1; at >= 0; at--) gradient = back(weights[at], activations[at + 1], gradient);
  return gradient;
}

/** Back through a layer, and through its units that are active. */
function back({ weights, inputs, units }, activations, gradient) {
  const result = new Float32Array(inputs);
  for (let unit = 0; unit < units; unit++) {
    if (!activations[unit] || !gradient[unit]) continue;
    for (let i = 0, at = unit * inputs; i < inputs; i++, at++) result[i] += gradient[unit] * weights[at];
  }
  return result;
}
