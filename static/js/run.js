// Curves of runs: a window that is dragged, keys for the links around them; and the log as text on the clipboard.
// Everything is there without this file: the same links, two number fields, the log as a file.
"use strict";

document.documentElement.classList.add("scripted");

// Drag across a chart

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 6; // pixels; less is a press, not a window

let drag = null;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function place(event) {
  const box = drag.ground.getBoundingClientRect();
  return clamp(event.clientX - box.left, 0, box.width);
}

function draw() {
  const [left, right] = [Math.min(drag.start, drag.end), Math.max(drag.start, drag.end)];
  drag.chosen.setAttribute("x", left);
  drag.chosen.setAttribute("width", right - left);
  drag.chosen.setAttribute("height", drag.ground.getAttribute("height"));
  // A live update may have put back the chart as the server drew it.
  if (!drag.chosen.isConnected) drag.ground.before(drag.chosen);
}

function forget() {
  drag?.chosen.remove();
  drag = null;
}

document.addEventListener("pointerdown", (event) => {
  const ground = event.target.closest?.("[data-plot]");
  if (!ground || event.button !== 0 || !event.isPrimary) return;
  const chosen = document.createElementNS(SVG, "rect");
  chosen.setAttribute("class", "plot-chosen");
  drag = { ground, chosen, start: 0, end: 0 };
  drag.start = drag.end = place(event);
  ground.setPointerCapture(event.pointerId);
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.end = place(event);
  draw();
});

document.addEventListener("pointercancel", forget);

document.addEventListener("pointerup", (event) => {
  if (!drag) return;
  drag.end = place(event);
  const { ground, start, end } = drag;
  forget();
  if (Math.abs(end - start) < LEAST) return;
  const first = Number(ground.dataset.first);
  const across = (Number(ground.dataset.last) - first) / ground.getBoundingClientRect().width;
  const window_ = [Math.min(start, end), Math.max(start, end)].map((at) => Math.round(first + at * across));
  const form = ground.closest("[data-curves]")?.querySelector("[data-window]");
  if (!form || window_[0] === window_[1]) return;
  [form.elements.from.value, form.elements.to.value] = window_;
  form.requestSubmit();
});

// Keys

const WAYS = { "+": "closer", "=": "closer", "-": "wider", ArrowLeft: "earlier", ArrowRight: "later", 0: "whole" };

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return forget();
  const curves = event.target.closest?.("[data-curves]");
  if (!curves || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, summary")) return;
  const link = WAYS[event.key] && curves.querySelector(`[data-way="${WAYS[event.key]}"]`);
  if (!link) return;
  event.preventDefault();
  link.click();
});

// The log

document.addEventListener("click", async (event) => {
  if (!event.target.closest?.("[data-copy]")) return;
  const log = document.querySelector("[data-log]");
  const said = document.querySelector("[data-copied]");
  if (!log) return void (said.textContent = "There is nothing to copy yet.");
  const text = [...log.querySelectorAll("li")].map((line) => line.textContent.trim()).join("\n");
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(log);
    said.textContent = "Marked; copy it with the keys of your system.";
  }
});
