// Starts the views, and asks the service how it is while somebody looks.
import { correctionsView } from "./corrections/view.js";
import { drawView } from "./draw/view.js";
import { byId } from "./elements/dom.js";
import { changeThemeByButton } from "./elements/theme-button.js";
import { ApiKeys } from "./keys/api-keys.js";
import { begin } from "./language/words.js";
import { go } from "./router.js";
import { askForKey, ignoreProblem, onKey } from "./service/api.js";
import { Status } from "./service/status.js";
import { trainView } from "./train/view.js";
import { versionsView } from "./versions/view.js";

const POLL_INTERVAL = 3000; // milliseconds

begin(byId("language"));
const draw = drawView();
const versions = versionsView((cards, current) => draw.compare.listed(cards, current));
const train = trainView(versions, draw.paper, () => versions.refresh().catch(ignoreProblem));
const corrections = correctionsView(() => {
  go("train");
  train.includeCorrections();
});
let compared = null;
const status = new Status((version) => {
  // Once for each pair: a process that cannot load the live version keeps another one for long.
  const pair = `${version} ${versions.current}`;
  const isOther = versions.current !== null && version !== versions.current;
  if (isOther && pair !== compared) refresh();
  compared = pair;
});
const keys = new ApiKeys();

changeThemeByButton(() => {
  draw.repaint();
  train.repaint();
});
onKey(() => keys.offer().catch(ignoreProblem));
onKey(refresh);
onKey(train.refresh);
onKey(corrections.refresh);
byId("give-key").addEventListener("click", askForKey);
refresh();
poll();

function refresh() {
  return versions
    .refresh()
    .then(() => train.update())
    .catch((problem) => {
      ignoreProblem(problem);
      draw.compare.refused();
    });
}

async function poll() {
  try {
    if (document.visibilityState === "visible") await Promise.all([status.look(), train.look().catch(ignoreProblem)]);
  } finally {
    setTimeout(poll, POLL_INTERVAL);
  }
}
