// The view Corrections: it asks for them when it is opened, and says which key it needs if it may not see them.
import { byId } from "../elements/dom.js";
import { Lock } from "../elements/lock.js";
import { onRoute } from "../router.js";
import { Corrections } from "./corrections.js";

/** Start the view; `learn()` is called when a training with the corrections is wanted. */
export function correctionsView(learn) {
  const lock = new Lock(byId("corrections"));
  const corrections = new Corrections(learn);
  const refresh = () =>
    lock.around(() => corrections.refresh()).catch((problem) => {
      if (problem.status === undefined) throw problem; // the notice of the lock says what is missing
    });
  onRoute((name) => name === "corrections" && refresh());
  return { refresh: () => !byId("corrections").hidden && refresh() };
}
