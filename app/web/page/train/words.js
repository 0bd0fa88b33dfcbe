// What enters: a job. What leaves: its name, its state and its phase in words. This module does not know where they
// stand.
import { brief, duration, number, percent, t } from "../language/words.js";

/** Return how much is done, from 0 to 1, or null while that is not certain. */
export function fractionOf(job) {
  if (job.status === "queued" && !job.progress) return null;
  if (job.status !== "running") return job.result ? 1 : (job.progress?.fraction ?? 0);
  const { name, done, total } = job.phase ?? {};
  if (name === "drawing" && total) return done / total;
  return name === "training" && job.progress ? job.progress.fraction : null;
}

/** Return "Training 43 %", or the state and its accuracy. */
export function stateOf(job) {
  const fraction = fractionOf(job);
  if (job.status === "running" && fraction !== null && job.phase?.name === "training")
    return t("training_percent", { percent: percent(fraction, 0) });
  if (job.status === "running") return phaseOf(job);
  return t(job.status);
}

function phaseOf({ phase }) {
  const { name = "starting", done, total } = phase ?? {};
  return name === "training" ? t("running") : t(`phase_${name}`, { done: number(done ?? 0), total: number(total ?? 0) });
}

/** Return the name of a job for lists and legends. */
export function nameOf({ hyperparameters: { recipe, note } }) {
  return note ? `${t(recipe)}: ${note}` : t(recipe);
}

export function aboutOf(job) {
  const { epochs } = job.hyperparameters;
  return [t("n_epochs", { n: epochs }), brief(job.created_at)].join(" · ");
}

/** Return what a job does, which epoch it is in, and how long that takes. `ahead` is how many jobs are before it. */
export function progressOf(job, ahead) {
  const { epochs, recipe } = job.hyperparameters;
  const words = [t(recipe)];
  if (job.status === "queued") words.push(ahead ? t("ahead", { n: ahead }) : t("next_up"));
  if (job.progress) words.push(t("epoch_of", { epoch: Math.min(job.progress.epoch + 1, epochs), epochs }));
  if (job.status === "running") {
    const isTraining = job.phase?.name === "training";
    if (!isTraining) words.push(phaseOf(job));
    else words.push(job.progress ? t("left", { time: duration(job.progress.eta) }) : t("begins"));
  }
  return words.join(" · ");
}
