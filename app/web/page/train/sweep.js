// What enters: a sweep. What leaves: a table of its grid, best first, and the wish to make a version live. This module
// does not know how its jobs are trained.
import { isConfirmed } from "../elements/confirm.js";
import { button, byId, element, fill } from "../elements/dom.js";
import { showProblem } from "../elements/problem.js";
import { inWords, percent, t, when } from "../language/words.js";
import { ask, post } from "../service/api.js";
import { UNFINISHED } from "./jobs.js";

export class SweepView {
  /** `changed()` when the sweep was cancelled or deleted. */
  constructor(versions, changed) {
    Object.assign(this, { versions, changed, sweep: null });
    byId("cancel-sweep").addEventListener("click", () => this.#act(() => post(`sweeps/${this.sweep.id}/cancel`)));
    byId("delete-sweep").addEventListener("click", () => this.#act(() => this.#delete()));
    inWords(() => this.update());
  }

  show(sweep) {
    this.sweep = sweep;
    this.update();
  }

  update() {
    const { sweep } = this;
    byId("sweep").hidden = sweep === null;
    if (!sweep) return;
    const isOver = !["queued", "running"].includes(sweep.status);
    byId("sweep-title").textContent = t("sweep_of", { name: sweep.name ?? sweep.id.slice(0, 6) });
    byId("sweep-about").textContent = [t(sweep.status), when(sweep.created_at)].join(" · ");
    byId("cancel-sweep").hidden = isOver;
    byId("delete-sweep").hidden = !isOver;
    const names = Object.keys(sweep.jobs[0]?.hyperparameters ?? {});
    const actions = element("span", { className: "hidden" }, t("actions"));
    const heads = [...names.map((name) => t(name)), t("accuracy"), t("version"), actions];
    const head = element("tr", {}, ...heads.map((word) => element("th", { scope: "col" }, word)));
    const jobs = sweep.jobs.toSorted((a, b) => (b.test_accuracy ?? -1) - (a.test_accuracy ?? -1));
    const rows = jobs.map((job) => this.#row(job, names));
    const content = () => [element("thead", {}, head), element("tbody", {}, ...rows)];
    fill(byId("grid"), [sweep, this.versions.current], content);
  }

  #row(job, names) {
    const { id, hyperparameters, status, test_accuracy, version } = job;
    const isBest = id === this.sweep.best?.id;
    const values = names.map((name) => [String(hyperparameters[name])]);
    const said = test_accuracy === null ? t(status) : percent(test_accuracy, 2);
    const done = UNFINISHED.includes(status) && job.fraction ? ` ${percent(job.fraction, 0)}` : "";
    const link = element("a", { href: `#/train/${id}` }, said + done);
    const badge = isBest ? [" ", element("span", { className: "badge" }, t("best"))] : [];
    const row = [...values, [link, ...badge], [version ?? "–"], this.#end(version)];
    return element("tr", { className: isBest ? "best" : "" }, ...row.map((cell) => element("td", {}, ...cell)));
  }

  #end(version) {
    if (version === null) return [];
    if (version === this.versions.current) return [t("live")];
    const label = { "aria-label": `${t("activate")} ${version}` };
    return [button(t("activate"), () => this.versions.promote(version).then(() => this.update()), label)];
  }

  async #delete() {
    const question = { title: t("delete_sweep"), text: t("delete_sweep_is"), yes: t("delete_job") };
    const { id } = this.sweep; // another one may be shown when the reader has answered
    if (await isConfirmed(question)) await ask(`sweeps/${id}`, { method: "DELETE" });
  }

  async #act(act) {
    showProblem(byId("sweep-said"), null);
    try {
      await act();
      await this.changed();
    } catch (problem) {
      showProblem(byId("sweep-said"), problem);
    }
  }
}
