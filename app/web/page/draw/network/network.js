// The network at work on the drawing: its layers as cells, the path to the answer, and the cell that the
// reader points at.
import { arrange, cellAt, neighbour } from "./arrangement.js";
import { paintCells } from "./cells.js";
import { coloursOf } from "./colours.js";
import { response, strongestPaths } from "./paths.js";
import { showNothing, showSaliency, showUnit } from "./unit.js";
import { weightsOf } from "./weights.js";
import { byId, element, fill } from "../../elements/dom.js";
import { lockNodes } from "../../elements/lock.js";
import { inWords, percent, t } from "../../language/words.js";
import { onKey } from "../../service/api.js";

const COUNTS = [784, 300, 256, 128, 10];
const TOP = 5; // cells of a layer in the table
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const BLANK = { values: COUNTS.map((count) => new Uint8Array(count)), activations: null, prediction: null };

export class Network {
  constructor() {
    this.canvas = byId("cells");
    this.context = this.canvas.getContext("2d");
    Object.assign(this, { now: BLANK, shown: 0, at: null, weights: null, refusal: null });
    new ResizeObserver(() => this.#fit()).observe(this.canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
    for (const name of ["pointermove", "pointerdown"]) this.canvas.addEventListener(name, (event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", ({ pointerType }) => {
      if (pointerType === "mouse") this.#choose(null); // a finger was lifted: the cell stays
    });
    this.canvas.addEventListener("blur", () => this.#choose(null));
    this.canvas.addEventListener("keydown", (event) => this.#move(event));
    this.repaint();
    onKey(() => {
      this.refusal = null;
      this.#show();
      this.#weigh();
    });
    inWords(() => this.#show());
  }

  /** Show an explained prediction; `final` if the pen is up: then the table is of it, too. */
  async explained(prediction, final) {
    const number = ++this.shown;
    const [input, saliency] = await Promise.all([prediction.seen, prediction.saliency].map(bytesOf));
    if (number !== this.shown) return;
    const hidden = prediction.activations.map(({ values }) => values);
    const output = prediction.probabilities.map((share) => Math.round(255 * share));
    const scaled = prediction.activations.map(({ values, maximum }) => values.map((value) => (value * maximum) / 255));
    const ink = Array.from(input, (value) => value / 255);
    this.now = { prediction, saliency, values: [input, ...hidden, output], activations: [ink, ...scaled] };
    this.#show();
    if (final) this.#list();
    await this.#weigh();
  }

  /** Get the weights of the version that read the drawing, or why there are none. */
  async #weigh() {
    const { shown, now } = this;
    if (!now.prediction) return;
    const { version } = now.prediction;
    let [weights, refusal] = [null, null];
    try {
      weights = await weightsOf(version);
    } catch (problem) {
      refusal = problem;
    }
    if (shown !== this.shown) return;
    const isNew = weights !== this.weights || refusal !== this.refusal || version !== this.version;
    Object.assign(this, { weights, refusal, version });
    if (isNew) this.#show();
  }

  forget() {
    this.shown++;
    this.now = BLANK;
    byId("unit-rows").replaceChildren();
    this.#show();
  }

  /** Paint with the colours that the theme has now. */
  repaint() {
    this.colours = coloursOf(this.canvas);
    this.#show();
  }

  #fit() {
    const width = this.canvas.parentElement.clientWidth;
    if (!width || width === this.width) return;
    this.width = width;
    this.arrangement = arrange(width);
    this.canvas.style.setProperty("height", `${this.arrangement.height}px`);
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(this.arrangement.height * devicePixelRatio);
    this.#show();
  }

  #show() {
    this.#paint();
    // It stays while the reader leaves the cells for its button.
    const { refusal } = this;
    fill(byId("weights-said"), String(refusal), () => (refusal ? lockNodes(refusal, "weights_locked") : []));
    const { prediction, saliency, values } = this.now;
    if (this.at) {
      const [layer, index] = this.at;
      const gradient = this.#usable && response(this.weights, this.now.activations ?? blankInput, layer - 1, index);
      showUnit({ layer, index, value: values[layer][index], gradient, colours: this.colours });
    } else if (prediction) showSaliency(prediction.digit, saliency, this.colours);
    else showNothing(this.colours);
  }

  get #usable() {
    const { prediction } = this.now;
    return this.weights !== null && (!prediction || prediction.version === this.version);
  }

  #paint() {
    if (!this.arrangement) return;
    const { context, now } = this;
    const digit = now.prediction?.digit ?? null;
    const [layer, index] = this.at ?? [4, digit];
    const hasPath = now.prediction && this.#usable;
    const edges = hasPath ? strongestPaths(this.weights, now.activations, layer - 1, index) : [];
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.width, this.arrangement.height);
    paintCells(context, this.arrangement, now.values, this.colours, { edges, at: this.at, digit });
  }

  #point({ offsetX, offsetY }) {
    this.#choose(cellAt(this.arrangement, offsetX, offsetY));
  }

  #move(event) {
    const move = MOVES[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.#choose(this.at ? neighbour(this.arrangement, this.at, move) : [1, 0]);
  }

  #choose(at) {
    if (String(at) === String(this.at)) return;
    this.at = at;
    this.#show();
  }

  /** The same for those who do not see the cells. */
  #list() {
    const names = [1, 2, 3].map((layer) => t("layer_name", { layer }));
    const rows = [...names, t("output")].map((name, i) => {
      const values = this.now.values[i + 1];
      const top = Array.from(values, (value, index) => [value, index]).sort((a, b) => b[0] - a[0]).slice(0, TOP);
      const words = top.map(([value, index]) => `${index} (${percent(value / 255, 0)})`).join(", ");
      return element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, words));
    });
    byId("unit-rows").replaceChildren(...rows);
  }
}

const blankInput = COUNTS.map((count) => new Uint8Array(count));

const SIDE = 28;
const decoder = document.createElement("canvas"); // one for all: a new one takes a millisecond
decoder.width = decoder.height = SIDE;
const decoded = decoder.getContext("2d", { willReadFrequently: true });

/** Return the 784 tones of a PNG data URL. */
async function bytesOf(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  decoded.drawImage(image, 0, 0);
  const { data } = decoded.getImageData(0, 0, SIDE, SIDE);
  return Uint8Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i]);
}
