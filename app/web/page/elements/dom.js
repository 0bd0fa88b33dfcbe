// What enters: a name, attributes and content. What leaves: an element. This module does not know the
// page.

export const byId = (id) => document.getElementById(id);

/** `element("button", { type: "button", onclick }, "Text")`: properties, or attributes with a dash. */
export function element(name, properties = {}, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "scope") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...content);
  return made;
}

export const button = (text, onclick, properties = {}) =>
  element("button", { type: "button", onclick, ...properties }, text);

/** Make a function that does nothing while its last call is unanswered: the second press of a button, for example. */
export function unlessBusy(act) {
  let isBusy = false;
  return async (...values) => {
    if (isBusy) return;
    isBusy = true;
    try {
      await act(...values);
    } finally {
      isBusy = false;
    }
  };
}

const signatures = new WeakMap();

/** Fill an element again only if what it shows has changed: the reader's focus is in it, perhaps. */
export function fill(holder, shown, content) {
  const signature = JSON.stringify([document.documentElement.lang, shown]);
  if (signatures.get(holder) === signature) return;
  signatures.set(holder, signature);
  holder.replaceChildren(...content());
}
