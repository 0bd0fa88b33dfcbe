// What enters: the chosen jobs, the losses of the first, and the live version. What leaves: their curves over one
// another, with a legend that gives the values of the epoch that is pointed at. This module does not know what
// else a job has.
import { Chart } from "../elements/chart.js";
import { byId, element } from "../elements/dom.js";
import { number, percent, t } from "../language/words.js";
import { haveSameTest } from "../versions/versions.js";
import { UNFINISHED } from "./jobs.js";
import { nameOf } from "./words.js";

const KINDS = {
  loss: { field: "test_loss", write: (value) => number(value, 3) },
  accuracy: { field: "test_accuracy", write: (value) => percent(value, 2) },
};

export class Curves {
  constructor() {
    Object.assign(this, { jobs: [], losses: [], live: null, epoch: null });
    const pointed = (epoch) => this.mark(epoch);
    this.charts = {
      loss: new Chart(byId("loss-chart"), { format: (value) => number(value, 1), from: 0, pointed }),
      accuracy: new Chart(byId("accuracy-chart"), { format: (value) => percent(value, 0), from: 0.9, to: 1, pointed }),
    };
  }

  /** `live` is the live version, or null. It is shown if all jobs are tested on its test images. */
  show(jobs, losses, live) {
    const isComparable = jobs.every((job) => haveSameTest(job, live));
    Object.assign(this, { jobs, losses, live: isComparable ? live : null });
    const epochs = Math.max(1, ...jobs.map(lengthOf));
    for (const [kind, chart] of Object.entries(this.charts)) {
      const series = jobs.map((job, i) => ({ className: `c${i}`, dots: true, points: points(job, KINDS[kind].field) }));
      if (kind === "loss" && jobs.length === 1) series.unshift({ className: "train", points: this.#batches(jobs[0]) });
      const level = kind === "accuracy" ? (this.live?.test_accuracy ?? null) : null;
      chart.draw(jobs.length ? series : [], epochs, this.#label(kind), level);
    }
    this.#legend();
  }

  /** Mark an epoch, counted from 1, in both charts; null gives the latest values. */
  mark(epoch) {
    this.epoch = epoch;
    for (const chart of Object.values(this.charts)) chart.mark(epoch);
    this.#legend();
  }

  #batches(job) {
    const perEpoch = Math.max(1, ...this.losses.map(({ batch }) => batch), job.progress?.batches ?? 1);
    return this.losses.map(({ epoch, batch, loss }) => ({ x: epoch + batch / perEpoch, y: loss }));
  }

  #label(kind) {
    const { field, write } = KINDS[kind];
    const last = this.jobs[0]?.epochs.at(-1);
    const title = t(kind === "loss" ? "loss" : "accuracy_tests");
    return t("chart", { title, now: last ? write(last[field]) : "–" });
  }

  #legend() {
    const { epoch, jobs, live } = this;
    byId("at-epoch").textContent = epoch === null ? "" : t("in_epoch", { epoch });
    for (const [kind, { field, write }] of Object.entries(KINDS)) {
      const items = jobs.map((job, i) => {
        const record = epoch === null ? job.epochs.at(-1) : job.epochs[epoch - 1];
        const name = jobs.length === 1 ? t("loss_test") : nameOf(job);
        return item(`c${i}`, name, record ? write(record[field]) : "–");
      });
      if (kind === "loss" && jobs.length === 1) items.unshift(item("train", t("loss_train"), this.#trainLoss(jobs[0])));
      if (kind === "accuracy" && live) {
        items.push(item("live", t("live_version", { version: live.version }), percent(live.test_accuracy, 2)));
      }
      byId(`${kind}-legend`).replaceChildren(...(jobs.length ? items : []));
    }
  }

  #trainLoss(job) {
    const { epoch, losses } = this;
    const value = epoch === null ? losses.at(-1)?.loss : job.epochs[epoch - 1]?.train_loss;
    return value === undefined ? "–" : number(value, 3);
  }
}

/** A job that ended early has fewer epochs than were wanted. */
const lengthOf = ({ epochs, hyperparameters, status }) =>
  UNFINISHED.includes(status) ? hyperparameters.epochs : epochs.length;

const points = ({ epochs }, field) => epochs.map((each) => ({ x: each.epoch + 1, y: each[field] }));

const item = (className, name, value) =>
  element("li", { className }, element("i"), element("span", {}, name), " ", element("b", {}, value));
