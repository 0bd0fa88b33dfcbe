// What enters: a job and its losses. What leaves: its state in words, its curves and its log on the page.
// This module does not know how a job goes on.
import { Chart } from "./chart.js";
import { byId, element } from "./dom.js";
import { duration, inWords, number, percent, t } from "./words.js";

export class JobView {
  constructor() {
    this.job = null;
    this.losses = [];
    this.frame = null;
    this.broken = false;
    this.loss = new Chart(byId("loss-chart"), { format: (value) => number(value, 2), from: 0 });
    this.accuracy = new Chart(byId("accuracy-chart"), { format: (value) => percent(value, 1), to: 1 });
    byId("log-fold").addEventListener("toggle", () => this.#showLog());
    inWords(() => this.#show());
  }

  show(job, losses) {
    Object.assign(this, { job, losses, broken: false });
    // Hundreds of old events come at once.
    this.frame ??= requestAnimationFrame(() => this.#show());
  }

  interrupted() {
    this.broken = true;
    this.#show();
  }

  #show() {
    this.frame = null;
    const { job } = this;
    byId("job").dataset.status = job?.status ?? "";
    byId("job-title").textContent = job ? t(job.status) : t("no_job");
    this.#showControls();
    byId("progress").value = job?.result ? 1 : (job?.progress?.fraction ?? 0);
    byId("eta").textContent = this.#progress();
    this.#showCurves();
    this.#showResult();
    this.#showLog();
  }

  #showControls() {
    const status = this.job?.status;
    byId("pause").hidden = !["running", "paused"].includes(status);
    byId("pause").textContent = t(status === "paused" ? "resume" : "pause");
    byId("cancel").hidden = !["queued", "running", "paused"].includes(status);
  }

  #progress() {
    const { job, broken } = this;
    if (broken) return t("interrupted");
    if (!job) return "";
    const { epochs } = job.hyperparameters;
    const { progress } = job;
    const words = [t(job.hyperparameters.recipe)];
    if (progress) words.push(t("epoch_of", { epoch: Math.min(progress.epoch + 1, epochs), epochs }));
    if (job.status === "running" && progress) {
      const left = t("left", { time: duration(progress.eta) });
      words.push(progress.fraction < 1 ? left : t("finishing"));
    }
    return words.join(" · ");
  }

  #showCurves() {
    const { job, losses } = this;
    const wanted = job?.hyperparameters.epochs ?? 10;
    const ended = job?.epochs ?? [];
    const perEpoch = Math.max(1, ...losses.map(({ batch }) => batch), job?.progress?.batches ?? 1);
    const train = losses.map(({ epoch, batch, loss }) => ({ x: epoch + batch / perEpoch, y: loss }));
    const test = ended.map((each) => ({ x: each.epoch + 1, y: each.test_loss }));
    const right = ended.map((each) => ({ x: each.epoch + 1, y: each.test_accuracy }));
    const loss = train.length ? number(train.at(-1).y, 3) : "";
    const accuracy = right.length ? percent(right.at(-1).y, 2) : "";
    byId("loss-now").textContent = loss;
    byId("accuracy-now").textContent = accuracy;
    const lines = [
      { name: "train", points: train },
      { name: "test", points: test, dots: true },
    ];
    this.loss.draw(lines, wanted, t("chart", { title: t("loss"), now: loss || "–" }));
    const label = t("chart", { title: t("accuracy_tests"), now: accuracy || "–" });
    this.accuracy.draw([{ name: "test", points: right, dots: true }], wanted, label);
  }

  #showResult() {
    const { result, error } = this.job ?? {};
    byId("result").className = error ? "bad" : "";
    if (error) byId("result").textContent = error.message;
    else if (!result) byId("result").textContent = "";
    else {
      const values = { version: result.version, accuracy: percent(result.test_accuracy, 2) };
      const said = t(result.promoted ? "promoted" : "not_promoted", values);
      const reason = element("small", { lang: "en" }, result.reason);
      byId("result").replaceChildren(said, " ", reason);
    }
  }

  #showLog() {
    if (!byId("log-fold").open) return;
    const log = byId("log");
    const isAtEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 30;
    log.textContent = this.losses.map(line).join("\n");
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}

const line = ({ epoch, batch, loss }) =>
  `==>>> epoch: ${epoch}, batch index: ${batch}, train loss: ${loss}`;
