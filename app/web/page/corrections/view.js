// The view Corrections: it asks for them when it is opened, and says which key it needs if it may not see them.
import { byId } from "../elements/dom.js";
import { Lock } from "../elements/lock.js";
import { onRoute } from "../router.js";
import { ignoreProblem } from "../service/api.js";
import { Corrections } from "./corrections.js";

/** Start the view; `learn()` is called when a training with the corrections is wanted. */
export function correctionsView(learn) {
  const lock = new Lock(byId("corrections"));
  const corrections = new Corrections(learn);
  const refresh = () => lock.around(() => corrections.refresh()).catch(ignoreProblem);
  onRoute((name) => name === "corrections" && refresh());
  return { refresh: () => !byId("corrections").hidden && refresh() };
}
