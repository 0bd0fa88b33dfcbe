// What enters: the chosen jobs. What leaves: the state of the first in words, its end, its curves and its log on the
// page. This module does not know how a job goes on.
import { button, byId, element, fill } from "../elements/dom.js";
import { problemNodes, showProblem } from "../elements/problem.js";
import { inWords, percent, t } from "../language/words.js";
import { haveSameTest, testOf } from "../versions/versions.js";
import { Curves } from "./curves.js";
import { UNFINISHED } from "./jobs.js";
import { whyNodes } from "./why.js";
import { fractionOf, progressOf } from "./words.js";

export class JobView {
  /** `versions` knows which version is live, and makes another one live; `drawing` is what is on the paper. */
  constructor(jobs, versions, drawing) {
    Object.assign(this, { jobs, versions, drawing, tried: null, isWhy: false });
    this.curves = new Curves();
    byId("log-fold").addEventListener("toggle", () => this.#showLog());
    inWords(() => this.#show());
  }

  update() {
    this.#show();
  }

  refused(problem) {
    showProblem(byId("job-said"), problem);
  }

  #show() {
    const { chosen, first, isSending, losses } = this.jobs;
    byId("job").dataset.status = first?.status ?? "";
    byId("job-title").textContent = isSending ? t("sending") : first ? t(first.status) : t("no_job");
    this.#showControls(first);
    this.#showProgress(first);
    const shown = chosen.map((id) => this.jobs.all.get(id)).filter(Boolean);
    const live = this.versions.cards.find(({ version }) => version === this.versions.current) ?? null;
    this.curves.show(shown, losses, live);
    this.#showResult(first, live);
    this.#showLog();
  }

  #showControls(job) {
    const status = job?.status;
    const isUnfinished = UNFINISHED.includes(status);
    byId("pause").hidden = !["running", "paused"].includes(status);
    byId("pause").textContent = t(status === "paused" ? "resume" : "pause");
    byId("cancel").hidden = !isUnfinished;
    byId("delete-job").hidden = !job || isUnfinished || job.sweep !== null;
  }

  #showProgress(job) {
    const { isBroken, isSending, missing } = this.jobs;
    const bar = byId("progress");
    const fraction = isSending ? null : job ? fractionOf(job) : 0;
    if (fraction === null) bar.removeAttribute("value");
    else bar.value = fraction;
    if (isBroken) byId("eta").textContent = t("interrupted");
    else if (missing && !job) byId("eta").replaceChildren(...problemNodes(missing));
    else byId("eta").textContent = isSending ? t("sent") : job ? progressOf(job, this.#ahead(job)) : t("no_job_hint");
  }

  #ahead(job) {
    const before = (other) => other.status === "running" || (other.status === "queued" && other.created_at < job.created_at);
    return this.jobs.list.filter((other) => other.id !== job.id && before(other)).length;
  }

  #showResult(job, live) {
    const holder = byId("result");
    const { error, result } = job ?? {};
    holder.className = error ? "bad" : "";
    const content = () => (error ? errorNodes(error) : result ? this.#end(job, live) : []);
    fill(holder, [job?.id, error, result, live, this.versions.previous, this.tried], content);
  }

  /** Say how it ended: which version reads better, and what can be done next. */
  #end(job, live) {
    const { result, id } = job;
    const { version, test_accuracy } = result;
    const isLive = version === live?.version;
    const beside = isLive ? t("end_live", { version }) : endBeside(job, live);
    const sentences = [element("b", {}, percent(test_accuracy, 2)), " ", beside];
    const ontoggle = (event) => (this.isWhy = event.target.open);
    const fold = { className: "reason", open: this.isWhy, ontoggle };
    const reason = element("details", fold, element("summary", {}, t("why_so")), ...whyNodes(job));
    const tried = this.tried?.id === id ? [element("p", { className: "tried" }, t(...this.tried.said))] : [];
    const tryIt = button(t("try_it"), () => this.#try(id, version, live).catch((problem) => this.refused(problem)));
    const wanted = isLive ? this.#rollBack() : [this.#promote(version)];
    return [element("p", {}, ...sentences), element("div", { className: "row" }, tryIt, ...wanted), ...tried, reason];
  }

  #promote(version) {
    const label = { "aria-label": `${t("activate")} ${version}`, className: "main" };
    return button(t("activate"), () => this.versions.promote(version).then(() => this.update()), label);
  }

  #rollBack() {
    const { previous } = this.versions;
    const back = () => this.versions.rollBack().then(() => this.update());
    return previous === null ? [] : [button(t("rollback_to", { version: previous }), back)];
  }

  /** Let the version read the drawing, and the live one beside it. */
  async #try(id, version, live) {
    if (this.drawing.isBlank) return void (location.hash = "#/draw");
    const versions = [version, live?.version ?? version];
    const [own, other] = await Promise.all(versions.map((each) => this.drawing.readBy(each)));
    const said = ({ digit, confidence }) => `${digit} (${percent(confidence, 0)})`;
    const word = version === versions[1] ? "tried_live" : "tried";
    this.tried = { id, said: [word, { version, own: said(own), live: versions[1], other: said(other) }] };
    this.update();
  }

  #showLog() {
    if (!byId("log-fold").open) return;
    const log = byId("log");
    const isAtEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 30;
    log.textContent = this.jobs.losses.map(line).join("\n");
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}

/** Say how the version of a job reads beside the live one, if both were tested on the same images. */
function endBeside(job, live) {
  const { baseline, test_accuracy, version } = job.result;
  if (!live) return t("end_alone", { version });
  const isBaseline = baseline?.version === live.version;
  const better = isBaseline ? baseline.test_accuracy : live.test_accuracy;
  const values = { live: live.version, better: percent(better, 2), test: testOf(job), live_test: testOf(live) };
  if (!isBaseline && !haveSameTest(job, live)) return t("end_apart", values);
  return t(test_accuracy >= better ? "end_even" : "end_stays", values);
}

/** A job that failed: what happened in the reader's language, and the words of the service. */
function errorNodes({ code, message }) {
  const words = t(`failed_${code}`);
  return problemNodes({ words: words.startsWith("failed_") ? t("failed_exception") : words, message });
}

const line = ({ epoch, batch, loss }) =>
  `==>>> epoch: ${epoch}, batch index: ${batch}, train loss: ${loss}`;
