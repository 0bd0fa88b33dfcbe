// What enters: the jobs and sweeps. What leaves: their list, with a link, a tick to compare curves, and what can be done
// with each. This module does not know what is shown of the chosen ones.
import { button, byId, element } from "../elements/dom.js";
import { inWords, percent, t } from "../language/words.js";
import { SWEEP, UNFINISHED } from "./jobs.js";
import { aboutOf, fractionOf, nameOf, stateOf } from "./words.js";

const LARGEST_OVERLAY = 6;

export class JobList {
  /**
   * `chosen(ids)` when the ticks change; `act(action, job)` when a button of a job is pressed; `older()` when older jobs
   * are wanted.
   */
  constructor(jobs, { chosen, act, older }) {
    Object.assign(this, { jobs, chosen, act, isPressed: false });
    // A row that is replaced between press and release would get no click.
    byId("jobs").addEventListener("pointerdown", () => (this.isPressed = true));
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, () => setTimeout(() => (this.isPressed = false)));
    }
    byId("older").addEventListener("click", older);
    inWords(() => this.show());
  }

  show() {
    const { jobs } = this;
    if (this.isPressed) return;
    const rows = [...jobs.sweeps.map((sweep) => [sweep.created_at, () => this.#sweep(sweep)])];
    for (const job of jobs.list) if (!job.sweep) rows.push([job.created_at, () => this.#job(job)]);
    rows.sort(([a], [b]) => b.localeCompare(a));
    byId("older").hidden = !jobs.hasMore;
    byId("no-jobs").hidden = rows.length > 0;
    const focused = document.activeElement?.closest("#jobs") && document.activeElement.dataset.key;
    replaceRows(byId("jobs"), rows.map(([, row]) => row()));
    // Whoever looks at a chart meanwhile stays there: focus alone would scroll to the list at each look.
    if (focused) byId("jobs").querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  }

  #job(job) {
    const { id, status, result } = job;
    const name = nameOf(job);
    const label = `${name}, ${aboutOf(job)}`;
    const isChosen = this.jobs.chosen.includes(id);
    const tick = element("input", {
      type: "checkbox",
      defaultChecked: isChosen, // as an attribute, by which rows are compared
      title: t("overlay"),
      "aria-label": t("overlay_of", { name: label }),
      "data-key": `tick-${id}`,
      disabled: !isChosen && this.jobs.chosen.length >= LARGEST_OVERLAY,
      onchange: (event) => this.#tick(id, event.target.checked),
    });
    const fraction = fractionOf(job);
    const said = result ? percent(result.test_accuracy, 2) : "";
    const bar = element("i", { className: status === "running" ? "bar" : "" });
    bar.style.setProperty("--done", fraction ?? 0);
    const link = element(
      "a",
      { href: `#/train/${id}`, "data-key": `link-${id}` },
      element("b", {}, name),
      element("span", { className: "said" }, said),
      element("small", {}, [stateOf(job), aboutOf(job)].join(" · ")),
      bar,
    );
    if (this.jobs.chosen[0] === id) link.setAttribute("aria-current", "true");
    const actions = element("span", { className: "acts" }, ...this.#actions(job, label));
    return element("li", { "data-status": status }, tick, link, actions);
  }

  #actions(job, label) {
    const icon = (action, sign) =>
      button(sign, () => this.act(action, job), {
        className: "sign",
        title: t(action),
        "aria-label": `${t(action)}: ${label}`,
        "data-key": `${action}-${job.id}`,
      });
    if (!UNFINISHED.includes(job.status)) return [icon("delete_job", "✕")];
    const hold = { running: ["pause", "❚❚"], paused: ["resume", "▶"] }[job.status];
    return [...(hold ? [icon(...hold)] : []), icon("cancel", "✕")];
  }

  #sweep(sweep) {
    const ended = sweep.jobs.filter(({ status }) => !UNFINISHED.includes(status)).length;
    const said = sweep.best ? percent(sweep.best.test_accuracy, 2) : t(sweep.status);
    const link = element(
      "a",
      { href: `#/train/${SWEEP}${sweep.id}`, "data-key": `link-${sweep.id}` },
      element("b", {}, t("sweep_of", { name: sweep.name ?? sweep.id.slice(0, 6) })),
      element("span", { className: "said" }, said),
      element("small", {}, t("sweep_jobs", { ended, n: sweep.jobs.length })),
    );
    if (this.jobs.chosen[0] === SWEEP + sweep.id) link.setAttribute("aria-current", "true");
    return element("li", { "data-status": sweep.status, className: "sweep" }, link);
  }

  #tick(id, isTicked) {
    const others = this.jobs.chosen.filter((each) => each !== id && !each.startsWith(SWEEP));
    this.chosen(isTicked ? [...others, id] : others);
  }
}

/** Replace the rows that show something else now. The others keep the focus, and a screen reader says nothing. */
function replaceRows(list, rows) {
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach((row, i) => {
    const present = list.children[i];
    if (!present) list.append(row);
    else if (!present.isEqualNode(row)) present.replaceWith(row);
  });
}
