// One cell of the network: the picture of what it responds to, and a sentence about it.
import { byId } from "../../elements/dom.js";
import { percent, t } from "../../language/words.js";

/** Show a cell; `gradient` has 784 numbers, or is null as long as there are no weights. */
export function showUnit({ layer, index, value, gradient, colours }) {
  byId("unit-name").textContent = layer === 4 ? t("unit_digit", { index }) : t("unit_name", { layer, index });
  byId("unit-said").setAttribute("aria-live", "polite"); // the reader moves from cell to cell
  const words = [t("unit_lit", { share: percent(value / 255, 0) })];
  if (gradient) words.push(t(layer === 1 ? "unit_weights" : "unit_response"));
  byId("unit-said").textContent = words.join(" ");
  byId("unit-picture").setAttribute("aria-label", t("unit_picture"));
  if (gradient) paintSigned(gradient, colours);
  else paintBytes(new Uint8Array(784), colours.cell);
}

/** Show which pixels counted for the answer. */
export function showSaliency(digit, bytes, colours) {
  byId("unit-said").setAttribute("aria-live", "off"); // the answer is said already
  byId("unit-name").textContent = t("saliency");
  byId("unit-said").textContent = t("saliency_alt", { digit });
  byId("unit-picture").setAttribute("aria-label", t("saliency_alt", { digit }));
  paintBytes(bytes, colours.cell);
}

export function showNothing(colours) {
  byId("unit-name").textContent = "";
  byId("unit-said").textContent = t("unit_nothing");
  byId("unit-picture").setAttribute("aria-label", t("unit_picture"));
  paintBytes(new Uint8Array(784), colours.cell);
}

function paintSigned(numbers, colours) {
  const largest = numbers.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
  paint((i) => {
    const table = numbers[i] > 0 ? colours.cell : colours.against;
    return table.pixels[Math.round((255 * Math.abs(numbers[i])) / largest)];
  });
}

const paintBytes = (bytes, { pixels }) => paint((i) => pixels[bytes[i]]);

function paint(colourOf) {
  const context = byId("unit-picture").getContext("2d");
  const image = context.createImageData(28, 28);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < 784; i++) pixels[i] = colourOf(i);
  context.putImageData(image, 0, 0);
}
