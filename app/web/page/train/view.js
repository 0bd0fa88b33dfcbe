// The view Train: a form that starts a job, the list of jobs, and the chosen ones. Each part is in the module that is
// named after it; this one connects them.
import { Datasets } from "../datasets/datasets.js";
import { isConfirmed } from "../elements/confirm.js";
import { byId, unlessBusy } from "../elements/dom.js";
import { Lock } from "../elements/lock.js";
import { t } from "../language/words.js";
import { go, onRoute } from "../router.js";
import { ignoreProblem } from "../service/api.js";
import { Drawing } from "./drawing.js";
import { Epochs } from "./epochs/epochs.js";
import { TrainForm } from "./form.js";
import { JobView } from "./job.js";
import { Jobs, SWEEP } from "./jobs.js";
import { JobList } from "./list.js";
import { Pill } from "./pill.js";
import { SweepView } from "./sweep.js";
import { nameOf } from "./words.js";

const FRAME = 30; // milliseconds
const NARROW = matchMedia("(max-width: 54rem)");

/** Start the view; `paper` is that of the view Draw; `ended` is called after a job has ended. */
export function trainView(versions, paper, ended) {
  let timer = null;
  let opened = []; // the jobs of the address
  const busy = new Set(); // the jobs for which an answer to an act is awaited
  const drawing = new Drawing(paper);
  const lock = new Lock(byId("train"));
  const jobs = new Jobs({ changed: showSoon, ended: () => ended().then(() => view.update()) });
  const view = new JobView(jobs, versions, drawing);
  const list = new JobList(jobs, { chosen: (ids) => go("train", ids.join(",")), act, older });
  const sweep = new SweepView(versions, () => jobs.lookAfterAct());
  const epochs = new Epochs(drawing, (epoch) => view.curves.mark(epoch));
  const pill = new Pill(jobs);
  const datasets = new Datasets();
  const form = new TrainForm(byId("train-form"), datasets, unlessBusy(start));
  for (const [id, action] of [["cancel", "cancel"], ["delete-job", "delete_job"]]) {
    byId(id).addEventListener("click", () => act(action, jobs.first));
  }
  byId("pause").addEventListener("click", () => act(jobs.first.status === "paused" ? "resume" : "pause", jobs.first));
  onRoute((name, rest) => name === "train" && open(rest));

  // Hundreds of old events come at once. Not in an animation frame: a hidden tab has none, but has a title.
  function showSoon() {
    timer ??= setTimeout(show, FRAME);
  }

  function show() {
    timer = null;
    const [id] = jobs.chosen;
    sweep.show(jobs.sweeps.find((each) => SWEEP + each.id === id) ?? null);
    byId("job").hidden = Boolean(sweep.sweep);
    list.show();
    view.update();
    pill.show();
    if (!byId("train").hidden) quietly(() => epochs.show(jobs.first));
  }

  async function open(rest) {
    const ids = (opened = rest.split(",").filter(Boolean));
    if (ids.every((id) => jobs.all.has(id))) jobs.choose(ids); // at once, before the service says more
    await quietly(() => lock.around(() => Promise.all([jobs.lookAtAll(ids), datasets.refresh()])));
    show(); // with what has come, before the job is seen: then nothing moves
    byId("train").classList.add("is-loaded");
    epochs.refresh();
  }

  async function start(chosen) {
    const { hash } = location;
    try {
      const job = await jobs.start(chosen);
      if (location.hash !== hash) return; // the reader has opened something else
      jobs.choose([job.id]);
      show();
      go("train", job.id);
      if (NARROW.matches) byId("job").scrollIntoView();
    } catch (problem) {
      form.refused(problem);
    }
  }

  async function act(action, job) {
    if (busy.has(job.id)) return; // pressed twice
    busy.add(job.id);
    view.refused(null);
    try {
      if (action === "delete_job") await remove(job);
      else await jobs.act(job.id, action);
    } catch (problem) {
      view.refused(problem);
    } finally {
      busy.delete(job.id);
    }
  }

  async function older() {
    view.refused(null);
    await jobs.lookAtOlder().catch((problem) => view.refused(problem));
  }

  async function remove(job) {
    const question = { title: t("delete_job_title", { name: nameOf(job) }), text: t("delete_job_is"), yes: t("delete_job") };
    if (!(await isConfirmed(question))) return;
    const { hash: hashBefore } = location;
    const removal = jobs.remove(job.id);
    show(); // at once, so that nothing more is asked about it
    go("train", jobs.isNamed ? jobs.chosen.join(",") : "");
    const { hash: hashAfter } = location; // the reader may open something else before the service answers
    await removal.catch((problem) => {
      if (location.hash === hashAfter) location.hash = hashBefore;
      throw problem;
    });
  }

  return {
    // Not again and again what is refused: a new key asks anew.
    look: async () => lock.isClosed || lock.around(() => jobs.look()),
    refresh: () => quietly(() => lock.around(() => Promise.all([jobs.lookAtAll(opened), datasets.refresh()]))),
    repaint: () => epochs.refresh(),
    update: show,
    includeCorrections: () => form.includeCorrections(),
  };
}

/** What the reader did not ask for; it may be aborted. */
const quietly = (question) => question().catch((problem) => problem.name === "AbortError" || ignoreProblem(problem));
