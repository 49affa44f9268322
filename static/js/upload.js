// Files dropped on the form, and how far their upload is. Everything works without this file.
"use strict";

const form = document.querySelector("[data-upload]");
const drop = form?.querySelector("[data-drop]");
const input = form?.querySelector("input[type='file']");
const progress = form?.querySelector("[data-progress]");
const stop = form?.querySelector("[data-stop]");

for (const element of form?.querySelectorAll("[data-scripted]") ?? []) element.hidden = false;

// Drag and drop

const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

for (const name of ["dragenter", "dragover"]) {
  drop?.addEventListener(name, (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    drop.classList.add("drop-over");
  });
}

drop?.addEventListener("dragleave", (event) => {
  if (!drop.contains(event.relatedTarget)) drop.classList.remove("drop-over");
});

drop?.addEventListener("drop", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  drop.classList.remove("drop-over");
  input.files = event.dataTransfer.files;
  input.focus();
});

// Sending

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

function notice(text) {
  const said = document.createElement("section");
  said.className = "notice notice-bad";
  said.setAttribute("role", "alert");
  said.append(Object.assign(document.createElement("p"), { textContent: text }));
  return said;
}

function tell(element) {
  const place = document.getElementById("notice");
  place.replaceChildren(element);
  place.scrollIntoView({ block: "nearest" });
}

function rest() {
  progress.hidden = stop.hidden = true;
  form.querySelector("button:not([type='button'])").disabled = false;
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const request = new XMLHttpRequest();
  const bar = progress.querySelector("progress");
  const sent = progress.querySelector("[data-sent]");
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = total ? (100 * loaded) / total : 0;
    sent.textContent = loaded < total ? `${megabytes(loaded)} of ${megabytes(total)}` : "arrived, being stored";
  });
  request.addEventListener("load", () => {
    if (request.status < 400) return location.assign(request.responseURL);
    rest();
    const answer = new DOMParser().parseFromString(request.responseText, "text/html");
    tell(answer.getElementById("error") ?? notice("The upload was not taken. Nothing was stored; try again."));
  });
  for (const name of ["error", "timeout"]) {
    request.addEventListener(name, () => {
      rest();
      tell(notice("The connection broke off. Nothing was stored; what you chose is still here: send it again."));
    });
  }
  request.addEventListener("abort", rest);
  stop.onclick = () => request.abort();
  document.getElementById("notice").replaceChildren();
  progress.hidden = stop.hidden = false;
  form.querySelector("button:not([type='button'])").disabled = true;
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "text/html");
  request.send(new FormData(form));
});
