// The documentation of the API, below the header of the views. A file of its own, so that the page works where inline
// scripts are forbidden.
import { byId } from "./page/elements/dom.js";
import { changeThemeByButton, isDark, system } from "./page/elements/theme-button.js";
import { begin, inWords } from "./page/language/words.js";
import { showPill } from "./page/train/pill.js";

const POLL_INTERVAL = 3000; // milliseconds
let job = null;
const showJob = () => showPill(job, "./");

begin(byId("language"));
changeThemeByButton(paint);
system.addEventListener("change", paint);
paint();
inWords(showJob);
poll();
// The header does not wait for the large bundle, which is there by then.
addEventListener("DOMContentLoaded", () =>
  SwaggerUIBundle({
    url: "openapi.json", // relative: the service may be below a path prefix
    dom_id: "#docs",
    deepLinking: true,
    docExpansion: "none", // so that the groups fit on one screen
    validatorUrl: null, // the default asks a third party
  }),
);

/** Swagger UI does not follow the system's theme: it has a class for the dark one. */
function paint() {
  document.documentElement.classList.toggle("dark-mode", isDark());
}

/** Ask for the job that is trained now. Where the service wants a key, the views ask for it, this page does not. */
async function poll() {
  if (document.visibilityState === "visible") {
    const response = await fetch("train?limit=10", { cache: "no-store" }).catch(() => null); // the service may be away
    if (response?.status === 401) return;
    const { data } = response?.ok ? await response.json() : { data: [] };
    job = data.find(({ status }) => status === "running") ?? null;
    showJob();
  }
  setTimeout(poll, POLL_INTERVAL);
}
