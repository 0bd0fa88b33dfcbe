// What enters: the reader's choice of light or dark, and the system's. What leaves: the theme of the page,
// remembered. This module does not know who paints with its colours.
import { byId } from "./dom.js";
import { inWords, remember, t } from "../language/words.js";

/** Let the button change the theme, and call `changed` after it did. */
export function changeThemeByButton(changed) {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
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
