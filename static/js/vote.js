// Keys of the voting page, what is said after a vote, and a typed reason that survives a bad connection.
// Everything works without this file.
"use strict";

const ballot = () => document.getElementById("vote-ballot");
const said = document.getElementById("vote-said");
const draftName = `vote-draft:${location.pathname}`;

// What was sent last, until its answer is here: what to say then, and which choice it was.
let sent = null;

// A browser may refuse to store anything; then nothing is remembered, and all else goes on.
const store = {
  get(name) {
    try { return localStorage.getItem(name); } catch { return null; }
  },
  set(name, value) {
    try {
      if (value === null) localStorage.removeItem(name);
      else localStorage.setItem(name, value);
    } catch { /* refused or full */ }
  },
};

// Keys

const keysAreOn = () => store.get("vote-keys") !== "off";

// On a keyboard of another script, the key that has the Latin letter on it.
const letterOf = (event) =>
  /^[\x20-\x7e]$/.test(event.key) ? event.key.toLowerCase() : event.code.replace(/^Key/, "").toLowerCase();

let cameFrom = null;

function closeHelp(help, focus) {
  help.open = false;
  if (focus) (cameFrom?.isConnected ? cameFrom : help.querySelector("summary")).focus({ preventScroll: true });
}

function escape(event) {
  const help = ballot()?.querySelector(".keys-help[open]");
  if (help) closeHelp(help, true);
  else if (event.target.matches("textarea")) document.getElementById("prompt-title")?.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
  if (event.key === "Escape") return escape(event);
  if (event.key.length > 1 || event.key === " ") return;
  if (event.target.closest("textarea, select, [contenteditable], input:not([type='checkbox'])")) return;
  const key = letterOf(event);
  const wanted = ballot()?.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!wanted || (key !== "?" && !keysAreOn())) return;
  event.preventDefault();
  if (key === "?") {
    const help = wanted.closest("details");
    if (help.open) return closeHelp(help, true);
    cameFrom = document.activeElement;
    help.open = true;
    wanted.focus({ preventScroll: true });
  } else if (ballot().getAttribute("aria-busy") === "true") {
    ballot().dataset.pressed = "yes";
    say("One moment: your last choice is still on its way. This key was not used.");
  } else if (!wanted.disabled) {
    wanted.click();
  }
});

document.addEventListener("click", (event) => {
  const help = ballot()?.querySelector(".keys-help[open]");
  if (help && !help.contains(event.target)) closeHelp(help, false);
});

// Sending

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  const choice = event.target.matches(".choices") ? button?.value : "";
  const label = ballot()?.querySelector(`.choices-bar [value="${CSS.escape(choice)}"][data-key]`);
  sent = {
    done: label?.dataset.done ?? event.target.dataset.done ?? "",
    choice,
    label: label?.firstChild.textContent.trim() ?? "",
  };
}, true);

// A second press of a plain form (htmx did not load) sends nothing; the server would refuse it anyway.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});

// A page that comes back from the browser's memory may vote again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

const isOurs = (event) => event.target.closest?.("#vote-ballot form");

document.addEventListener("htmx:before:request", (event) => {
  if (!isOurs(event)) return;
  ballot().setAttribute("aria-busy", "true");
  ballot().querySelector("[data-unsent]")?.setAttribute("hidden", "");
});

// Where the answer is another ballot, that one was never busy.
document.addEventListener("htmx:finally:request", (event) => {
  if (!isOurs(event)) return;
  ballot().removeAttribute("aria-busy");
  delete ballot().dataset.pressed;
});

function unsent(why) {
  const notice = ballot()?.querySelector("[data-unsent]");
  if (!notice) return;
  for (const reason of notice.querySelectorAll("[data-when]")) reason.hidden = reason.dataset.when !== why;
  const again = notice.querySelector("[data-again]");
  again.hidden = !sent?.choice;
  again.value = sent?.choice ?? "";
  again.textContent = `Send “${sent?.label}” again`;
  notice.hidden = false;
}

document.addEventListener("htmx:error", (event) => {
  if (isOurs(event)) unsent("offline");
});

document.addEventListener("htmx:response:error", (event) => {
  const status = event.detail.ctx.response.status;
  if (!isOurs(event)) return;
  if (status === 401) unsent("signed-out");
  else if (status === 429 || status >= 500) unsent("busy");
  else if (status === 409 || status === 404) ballot().querySelector("[data-next]")?.removeAttribute("hidden");
});

// Each new ballot

function say(words) {
  said.textContent = words;
}

function keepDraft() {
  const form = ballot()?.querySelector(".choices");
  if (!form) return;
  const words = new FormData(form);
  const draft = { ballot: words.get("ballot_id"), reason: words.get("reason"), tags: words.getAll("tags") };
  store.set(draftName, draft.reason || draft.tags.length ? JSON.stringify(draft) : null);
}

function bringDraft() {
  const form = ballot()?.querySelector(".choices");
  const draft = JSON.parse(store.get(draftName) ?? "null");
  if (!form || !draft) return;
  if (draft.ballot !== form.elements.ballot_id.value) return store.set(draftName, null);
  if (form.elements.reason.value) return;
  form.elements.reason.value = draft.reason;
  for (const box of form.querySelectorAll("[name=tags]")) box.checked = draft.tags.includes(box.value);
  form.querySelector(".why").open = true;
}

// Under the prompt, which stays in view, the head of a text and whatever has the focus must stay in view too.
const measured = new ResizeObserver(([prompt]) =>
  document.documentElement.style.setProperty("--prompt-height", `${prompt.borderBoxSize[0].blockSize}px`));

function arrive() {
  if (!ballot()) return;
  for (const details of ballot().querySelectorAll("[data-remember]")) {
    const open = store.get(`vote-open:${details.dataset.remember}`);
    if (open !== null) details.open = details.open && details.matches(".why") ? true : open === "yes";
  }
  for (const hidden of ballot().querySelectorAll("[data-scripted]")) hidden.hidden = false;
  const keys = ballot().querySelector("[data-keys-on]");
  if (keys) keys.checked = keysAreOn();
  bringDraft();
  measured.disconnect();
  const prompt = ballot().querySelector(".prompt");
  if (prompt) measured.observe(prompt, { box: "border-box" });
  else document.documentElement.style.removeProperty("--prompt-height");
}

function replaced() {
  arrive();
  if (!sent) return;
  const place = ballot().querySelector(".vote-place")?.textContent ?? "";
  const end = ballot().querySelector(".calm h1")?.textContent ?? "";
  say([sent.done, end || `${place}.`].join(" "));
  sent = null;
}

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-keys-on]")) store.set("vote-keys", event.target.checked ? null : "off");
  else if (event.target.closest(".choices")) keepDraft();
});

document.addEventListener("toggle", (event) => {
  const remembered = event.target.dataset?.remember;
  if (remembered) store.set(`vote-open:${remembered}`, event.target.open ? "yes" : "no");
}, true);

new MutationObserver((changes) => {
  if (changes.some((change) => [...change.addedNodes].some((node) => node.id === "vote-ballot"))) replaced();
}).observe(document.getElementById("main"), { childList: true });

arrive();
