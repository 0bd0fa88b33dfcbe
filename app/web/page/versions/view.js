// The view Versions: the list of versions, the card of the chosen one, perhaps beside another, and what it confuses. Each
// part is in the module that is named after it; this one connects them.
import { byId } from "../elements/dom.js";
import { Lock } from "../elements/lock.js";
import { onRoute } from "../router.js";
import { askJson, ignoreProblem } from "../service/api.js";
import { CardView } from "./card.js";
import { Confusion } from "./confusion.js";
import { haveSameTest, Versions } from "./versions.js";

const NARROW = matchMedia("(max-width: 54rem)");

/** Start the view, and return its versions; `listed` is called with the cards and the live version. */
export function versionsView(listed) {
  const lock = new Lock(byId("versions"));
  const confusion = new Confusion();
  const versions = new Versions({ chosen, listed });
  const view = new CardView(versions);
  const refresh = versions.refresh.bind(versions);
  versions.refresh = () => lock.around(refresh);
  let isOpen = true; // at the start, the page asks for them anyway
  onRoute((name, rest) => {
    const wasOpen = isOpen;
    isOpen = name === "versions";
    if (!isOpen) return;
    const [version = null, other = null] = rest.split(",").filter(Boolean).map(Number);
    versions.choose(version, other);
    if (!wasOpen) versions.refresh().catch(ignoreProblem); // a training may have made another one
    if (version !== null && NARROW.matches) byId("card").scrollIntoView(); // it lies below the list
  });

  async function chosen(version, other) {
    try {
      const wanted = [version, other].filter((each) => each !== null);
      const cards = wanted.map((each) => askJson(`models/${each}`, { quiet: true }));
      const [card, beside = null] = await Promise.all(cards);
      // Another one may be chosen by now.
      if (version !== versions.version || other !== versions.other) return;
      versions.refused(null);
      view.show(card, beside);
      confusion.show(card, haveSameTest(card, beside) ? beside : null);
    } catch (problem) {
      ignoreProblem(problem);
      const isChosen = version === versions.version && other === versions.other;
      if (problem.status !== 401 && isChosen) versions.refused(problem);
    }
  }

  return versions;
}
