// The weights of a version, from its safetensors file: fetched once, when they are first needed.
import { isLocked } from "../../elements/lock.js";
import { ask, onKey } from "../../service/api.js";
import { readWeights } from "../../service/safetensors.js";

const found = new Map();
onKey(() => found.clear()); // what was refused may be allowed now

/** Return the layers, each {weights, biases, inputs, units}. What needs another key is asked for again only with one. */
export function weightsOf(version) {
  if (!found.has(version)) {
    found.set(version, load(version));
    found.get(version).catch((problem) => isLocked(problem) || found.delete(version));
  }
  return found.get(version);
}

async function load(version) {
  const response = await ask(`models/${version}/weights?format=safetensors`, { quiet: true });
  return readWeights(await response.arrayBuffer()).layers;
}
