// What enters: a network, and the drawing on the paper. What leaves: what the network reads there. This module does not
// know which epoch the network is of.
import { byId, element } from "../../elements/dom.js";
import { inWords, percent, t } from "../../language/words.js";

const SHOWN = 3;

export class Opinion {
  constructor(drawing) {
    Object.assign(this, { drawing, network: null, input: null, looks: 0 });
    inWords(() => this.#show());
  }

  show(network) {
    this.network = network;
    this.#show();
    if (network && !this.input) this.refresh();
  }

  /** Look at the paper again. */
  async refresh() {
    const look = ++this.looks;
    const seen = await this.drawing.look().catch(() => null);
    if (look !== this.looks) return; // a newer one knows more
    this.input = seen?.input ?? null;
    byId("sketch").hidden = !seen;
    if (seen) byId("sketch").src = seen.picture;
    this.#show();
  }

  #show() {
    const { network, input } = this;
    byId("no-sketch").hidden = input !== null;
    const isKnown = network !== null && input !== null;
    byId("opinion").hidden = !isKnown;
    byId("sketch").alt = t("sketch_alt");
    if (!isKnown) return;
    const probabilities = network.read(input);
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
    byId("reads").textContent = order[0];
    byId("reads-words").textContent = t("reads_words", { digit: order[0], sure: percent(probabilities[order[0]]) });
    byId("guesses").replaceChildren(...order.slice(0, SHOWN).map((digit) => guess(digit, probabilities[digit])));
  }
}

function guess(digit, probability) {
  const fill = element("i");
  fill.style.setProperty("--done", probability);
  const meter = element("span", { className: "meter" }, fill);
  return element("li", {}, element("b", {}, digit), meter, element("span", {}, percent(probability, 0)));
}
