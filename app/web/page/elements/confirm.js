// What enters: a question. What leaves: whether the answer is yes. This module does not know what is asked.
import { byId } from "./dom.js";

/** Ask in a dialog, perhaps with a field below the question. It ends in no if it is closed, or the reader goes back. */
export function isConfirmed({ title, text, yes, field = "" }) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-is").textContent = text;
  byId("confirm-yes").textContent = yes;
  byId("confirm-field").replaceChildren(field);
  dialog.returnValue = "no";
  dialog.showModal();
  const leave = () => dialog.close();
  addEventListener("hashchange", leave);
  return new Promise((resolve) => {
    const close = () => {
      removeEventListener("hashchange", leave);
      resolve(dialog.returnValue === "yes");
    };
    dialog.addEventListener("close", close, { once: true });
  });
}
