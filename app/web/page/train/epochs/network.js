// What enters: a file of weights, and 28×28 pixels. What leaves: the network, which reads them as the service does. This
// module does not know which training the weights are of.
import { readWeights } from "../../service/safetensors.js";

export class Network {
  constructor(file) {
    Object.assign(this, readWeights(file));
  }

  /** The weights of the first layer: 784 for each of its 300 cells. */
  get first() {
    return this.layers[0].weights;
  }

  /** Return the ten probabilities of an image: 784 values from -0.5 to 0.5. */
  read(image) {
    let values = image;
    this.layers.forEach((layer, i) => (values = forward(layer, values, i < this.layers.length - 1)));
    return softmax(values, this.card.temperature ?? 1);
  }
}

function forward({ weights, biases }, input, isHidden) {
  const output = Float32Array.from(biases);
  const width = input.length;
  for (let row = 0; row < output.length; row++) {
    let sum = output[row];
    for (let i = 0, at = row * width; i < width; i++, at++) sum += weights[at] * input[i];
    output[row] = isHidden && sum < 0 ? 0 : sum;
  }
  return output;
}

function softmax(logits, temperature) {
  const most = Math.max(...logits);
  const powers = [...logits].map((logit) => Math.exp((logit - most) / temperature));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}
