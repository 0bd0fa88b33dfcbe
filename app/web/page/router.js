// What enters: the address. What leaves: the view that it names, and the rest of it. `#/train/ID` shows
// the section `train` with `ID`. This module does not know what the views show.
const views = [...document.querySelectorAll("main > section")];
const links = [...document.querySelectorAll('nav a[href^="#/"]')];
const listeners = [];

/** Return the view and the rest of the address, such as `["train", "ID"]`. */
export function route() {
  const [, view, rest = ""] = location.hash.match(/^#\/(\w+)\/?(.*)$/) ?? [];
  return views.some((section) => section.id === view) ? [view, decodeURIComponent(rest)] : [views[0].id, ""];
}

/** Call now and whenever the address changes, with the view and the rest of the address. */
export function onRoute(listener) {
  listeners.push(listener);
  listener(...route());
}

/** Go to a view, as a link does. */
export function go(view, rest = "") {
  const address = `#/${view}${rest && `/${encodeURIComponent(rest)}`}`;
  if (address === location.hash) return;
  history.pushState(null, "", address);
  showView(); // at once: no event comes of it
}

function showView() {
  if (location.hash && !location.hash.startsWith("#/")) return; // an anchor, such as the skip link's
  const [view, rest] = route();
  const changes = views.find((section) => !section.hidden)?.id !== view;
  for (const section of views) section.hidden = section.id !== view;
  for (const link of links) {
    if (link.hash === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (changes) scrollTo(0, 0);
  listeners.forEach((listener) => listener(view, rest));
}

addEventListener("hashchange", showView);
showView();
