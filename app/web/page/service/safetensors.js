// What enters: a safetensors file of weights. What leaves: the network's layers, and the card of the version.
// The format: eight bytes with the length of the header, the header in JSON, the tensors one after the other.
const LAYERS = ["fc1", "fc2", "fc3", "fc4"];

/** Return `layers`, each {weights, biases, inputs, units}, and the `card`. */
export function readWeights(file) {
  const length = Number(new DataView(file).getBigUint64(0, true));
  const { __metadata__: extra, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length)));
  const tensor = (name) => {
    const [start, end] = tensors[name].data_offsets;
    return new Float32Array(file.slice(8 + length + start, 8 + length + end));
  };
  const layers = LAYERS.map((name) => {
    const [units, inputs] = tensors[`${name}.weight`].shape;
    return { weights: tensor(`${name}.weight`), biases: tensor(`${name}.bias`), units, inputs };
  });
  return { layers, card: extra?.card ? JSON.parse(extra.card) : {} };
}
