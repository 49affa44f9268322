// Keys of the voting page, and a word when a vote could not be sent. Everything works without this file.
"use strict";

const ballot = () => document.getElementById("vote-ballot");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const wanted = ballot()?.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!wanted || wanted.disabled) return;
  event.preventDefault();
  wanted.click();
});

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

document.addEventListener("htmx:error", (event) => {
  const offline = ballot()?.querySelector("[data-offline]");
  if (offline && event.target.closest("#vote-ballot form")) offline.hidden = false;
});
