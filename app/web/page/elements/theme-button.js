// What enters: the reader's choice of light or dark, and the system's. What leaves: the theme of the page,
// remembered. This module does not know who paints with its colours.
import { byId } from "./dom.js";
import { inWords, remember, t } from "../language/words.js";

const root = document.documentElement;
export const system = matchMedia("(prefers-color-scheme: dark)");

/** Whether the page is dark now: by the reader's choice, or else by the system's. */
export const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

/** Let the button change the theme, and call `changed` after it did. */
export function changeThemeByButton(changed) {
  inWords(name);
  system.addEventListener("change", name);
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember("theme", root.dataset.theme);
    name();
    changed();
  });

  function name() {
    const word = t(isDark() ? "light" : "dark");
    byId("theme").setAttribute("aria-label", word);
    byId("theme").title = word;
  }
}
