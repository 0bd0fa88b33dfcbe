// What enters: /health/ready and /metrics, every few seconds. What leaves: how the service is, in small
// print. This module does not know what else is asked of it.
import { ask, askJson } from "./api.js";
import { byId } from "../elements/dom.js";
import { isLocked } from "../elements/lock.js";
import { buckets, parse, quantile, total } from "./metrics.js";
import { inWords, number, t } from "../language/words.js";

const REMEMBERED = 20; // readings: a minute
const MEASURED = ["s-rate", "s-times", "s-queue"];

export class Status {
  /** `live(version)` with the version of each answer. */
  constructor(live) {
    Object.assign(this, { live, ready: null, state: "…", readings: [], isLocked: false });
    inWords(() => this.#show());
  }

  async look() {
    await Promise.all([this.#lookReady(), this.#lookMetrics()]);
    this.#show();
  }

  async #lookReady() {
    try {
      this.ready = await askJson("health/ready", { quiet: true });
      this.state = "ready";
      this.live(this.ready.version);
    } catch (problem) {
      this.state = problem.code === "not_ready" ? "not_ready" : "away";
    }
  }

  async #lookMetrics() {
    try {
      const response = await ask("metrics", { quiet: true, headers: { Accept: "text/plain" } });
      const samples = parse(await response.text());
      const reading = {
        at: performance.now(),
        requests: total(samples, "mynet_http_requests_total"),
        buckets: buckets(samples, "/predict"),
        queue: total(samples, "mynet_images_under_way"),
      };
      this.readings = [...this.readings, reading].slice(-REMEMBERED);
      this.isLocked = false;
    } catch (problem) {
      this.readings = []; // it wants a key, or the state says what is wrong
      this.isLocked = isLocked(problem);
    }
  }

  #show() {
    const { ready, readings, state } = this;
    const [first, last] = [readings[0], readings.at(-1)];
    byId("s-state").textContent = t(state);
    byId("s-version").textContent = ready?.version ?? "–";
    byId("s-device").textContent = ready?.device ?? "–";
    for (const id of MEASURED) byId(id).parentElement.hidden = this.isLocked;
    byId("s-queue").textContent = last ? number(last.queue) : "–";
    const { new: corrections, after } = ready?.retraining ?? {};
    byId("retraining").textContent = after
      ? t("retraining", { n: number(corrections), after: number(after) }) : "";
    const seconds = (last?.at - first?.at) / 1000;
    byId("s-rate").textContent = seconds ? number((last.requests - first.requests) / seconds, 1) : "–";
    byId("s-times").textContent = last ? times(last.buckets, first.buckets) : "–";
  }
}

/** Of the last minute, or of all time where nobody asked in it. */
function times(now, before) {
  const since = quantile(0.5, now, before) === null ? {} : before;
  const found = [0.5, 0.99].map((q) => quantile(q, now, since));
  if (found[0] === null) return "–";
  const [half, most] = found.map((each) => number(1000 * each, each < 0.01 ? 1 : 0));
  return t("times_are", { half, most });
}
