// What enters: word that the paper changed. What leaves: the service's answers, newest last, while ink
// flows and when the pen is lifted. This module does not know how answers look.
import { askJson } from "./api.js";

const EVERY = 60; // milliseconds between two questions, at least
const OFTEN = 4; // questions under way at most, where the network is slow

export function read(image, query = "", options = {}) {
  const headers = { "Content-Type": image.type || "application/octet-stream" };
  return askJson(`/predict${query}`, { method: "POST", body: image, headers, ...options });
}

export class Reader {
  /** `answered(prediction, final)`, `refused(problem)`, `explained(prediction)` */
  constructor(paper, { answered, refused, explained }) {
    Object.assign(this, { paper, answered, refused, explained });
    Object.assign(this, { sent: 0, shown: 0, underWay: 0, last: -EVERY, timer: null });
  }

  /** The paper changed; `final` where the pen is up. */
  changed(final) {
    if (this.paper.isBlank) this.forget();
    else if (final) this.#ask(true);
    else this.timer ??= setTimeout(() => this.#askLive(), this.last + EVERY - performance.now());
  }

  forget() {
    this.#rest();
    this.shown = ++this.sent; // what is under way comes too late
  }

  #askLive() {
    this.timer = null;
    if (this.underWay < OFTEN && !this.paper.isSpeck) this.#ask(false);
  }

  async #ask(final) {
    this.#rest();
    const number = ++this.sent;
    const image = this.paper.image();
    this.last = performance.now();
    this.underWay++;
    try {
      const prediction = await read(image, "", { quiet: !final });
      if (this.#isStale(number)) return;
      this.answered(prediction, final, image);
      if (final) await this.#explain(number, image);
    } catch (problem) {
      if (!this.#isStale(number) && final) this.refused(problem);
    } finally {
      this.underWay--;
    }
  }

  async #explain(number, image) {
    const explained = await read(image, "?explain=true");
    if (number === this.sent) this.explained(explained);
  }

  #isStale(number) {
    if (number < this.shown) return true;
    this.shown = number;
    return false;
  }

  #rest() {
    clearTimeout(this.timer);
    this.timer = null;
  }
}
