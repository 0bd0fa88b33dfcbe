// The service's answers to what is on the paper, newest last: while ink flows, and when the pen is lifted.
import { askJson } from "../service/api.js";

const EVERY = 60; // milliseconds between two questions, at least

export function read(image, query = "", options = {}) {
  const headers = { "Content-Type": image.type || "application/octet-stream" };
  return askJson(`predict${query}`, { method: "POST", body: image, headers, ...options });
}

export class Reader {
  /** `answered(prediction, final, image)`, `refused(problem)`, `explained(prediction, final)` */
  constructor(paper, { answered, refused, explained }) {
    Object.assign(this, { paper, answered, refused, explained });
    Object.assign(this, { sent: 0, shown: 0, live: null, isBehind: false, last: -EVERY, timer: null });
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
    if (this.paper.isSpeck) return;
    // One at a time: a slow service is asked less often, and has the less to do when the pen is lifted.
    this.isBehind = this.live !== null;
    if (!this.isBehind) this.#ask(false);
  }

  async #ask(final) {
    if (final) this.#rest();
    const number = ++this.sent;
    const image = this.paper.image();
    const controller = new AbortController();
    this.last = performance.now();
    if (!final) this.live = controller;
    try {
      // The last answer comes first, and then its explanation; live ones come with theirs.
      const query = final ? "" : "?explain=true";
      const prediction = await read(image, query, { quiet: !final, signal: controller.signal });
      if (this.#isStale(number)) return;
      this.answered(prediction, final, image);
      if (final) await this.#explain(number, image);
      else this.explained(prediction, false);
    } catch (problem) {
      if (final && !this.#isStale(number)) this.refused(problem);
    } finally {
      if (this.live === controller) this.live = null;
      if (this.isBehind && !this.live) this.#askLive();
    }
  }

  async #explain(number, image) {
    const explained = await read(image, "?explain=true");
    if (number === this.sent) this.explained(explained, true);
  }

  #isStale(number) {
    if (number < this.shown) return true;
    this.shown = number;
    return false;
  }

  /** What was asked while ink flowed need not be answered any more. */
  #rest() {
    clearTimeout(this.timer);
    this.live?.abort();
    Object.assign(this, { timer: null, live: null, isBehind: false });
  }
}
