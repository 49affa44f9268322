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

// Sending, piece by piece: what breaks off goes on where it was, by itself or when the same files are chosen again

const PIECE = 8_000_000; // the most that app/services/sending.py takes
const SHORTEST_WAIT = 1; // seconds between two tries
const LONGEST_WAIT = 30;

class Away extends Error {} // no answer came; another try may bring one
class Stopped extends Error {}

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const memory = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  put: (key, id) => { try { localStorage.setItem(key, id); } catch { /* then a closed page begins anew */ } },
  drop: (key) => { try { localStorage.removeItem(key); } catch { /* nothing was put */ } },
};

const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

function notice(text) {
  const said = document.createElement("section");
  said.className = "notice notice-bad";
  said.setAttribute("role", "alert");
  said.append(Object.assign(document.createElement("p"), { textContent: text }));
  const place = document.getElementById("notice");
  place.replaceChildren(said);
  place.scrollIntoView({ block: "nearest" });
}

class Upload {
  constructor(files, root) {
    this.files = files;
    this.root = root;
    this.size = sum(files.map((file) => file.size));
    this.key = `sending ${JSON.stringify(files.map((file) => [file.name, file.size, file.lastModified]))}`;
    this.received = files.map(() => 0);
    this.wait = SHORTEST_WAIT;
    this.leaving = new AbortController();
  }

  stop() {
    this.leaving.abort();
  }

  async send(fields) {
    await this.begin();
    for (const [number, file] of this.files.entries()) {
      while (this.received[number] < file.size) await this.piece(number, file);
    }
    this.show("arrived, being stored");
    const address = await this.take(fields);
    memory.drop(this.key);
    return address;
  }

  async take(fields) {
    try {
      return (await this.persist(() => this.ask("POST", `${this.path}/taken`, fields))).address;
    } catch (error) {
      if (error.status !== 404) throw error;
      const address = this.path.replace(this.root, form.dataset.taken);
      // Found there, it was taken by a try whose answer was lost.
      await this.ask("GET", address).catch(() => { throw error; });
      return address;
    }
  }

  async begin() {
    const known = memory.get(this.key);
    if (known) {
      this.path = `${this.root}/${known}`;
      try {
        await this.look();
        this.tell(`${megabytes(sum(this.received))} of it were here already.`);
        return;
      } catch (error) {
        if (error.status !== 404) throw error;
        memory.drop(this.key);
      }
    }
    const announced = new FormData();
    for (const file of this.files) {
      announced.append("name", file.name);
      announced.append("size", file.size);
    }
    const { id, received } = await this.persist(() => this.ask("POST", this.root, announced));
    this.path = `${this.root}/${id}`;
    this.received = received;
    memory.put(this.key, id);
  }

  async look() {
    ({ received: this.received } = await this.persist(() => this.ask("GET", this.path)));
  }

  async piece(number, file) {
    const at = this.received[number];
    const here = sum(this.received);
    const sent = (bytes) => this.show(`${megabytes(here + bytes)} of ${megabytes(this.size)}`, here + bytes);
    try {
      const path = `${this.path}?file=${number}&at=${at}`;
      ({ received: this.received } = await this.ask("POST", path, file.slice(at, at + PIECE), sent));
      this.wait = SHORTEST_WAIT;
    } catch (error) {
      if (error instanceof Away) {
        await this.readable(file);
        await this.pause();
      } else if (error.status !== 409) throw error;
      await this.look(); // the piece may have arrived although no answer came
    }
  }

  async readable(file) {
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Refused(0, `${file.name} was changed or moved since it was chosen. Choose it again.`);
    }
  }

  async persist(ask) {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof Away)) throw error;
        await this.pause();
      }
    }
  }

  async pause() {
    this.tell("The connection broke off. Sending goes on by itself as soon as it is back.");
    await new Promise((go, leave) => {
      const timer = setTimeout(go, 1000 * this.wait);
      addEventListener("online", go, { once: true });
      this.leaving.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        leave(new Stopped());
      });
    });
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
    this.tell("");
  }

  ask(method, path, body, sent = () => {}) {
    return new Promise((give, fail) => {
      if (this.leaving.signal.aborted) return fail(new Stopped());
      const request = new XMLHttpRequest();
      request.upload.addEventListener("progress", ({ loaded }) => sent(loaded));
      request.addEventListener("load", () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* a page of something in between */ }
        if (request.status < 300) return give(answer);
        if (request.status >= 500 && !answer.error) return fail(new Away());
        fail(new Refused(request.status, answer.error ?? "The upload was not taken. Try again."));
      });
      for (const name of ["error", "timeout"]) request.addEventListener(name, () => fail(new Away()));
      request.addEventListener("abort", () => fail(new Stopped()));
      this.leaving.signal.addEventListener("abort", () => request.abort());
      request.open(method, path);
      request.setRequestHeader("Accept", "application/json");
      request.send(body);
    });
  }

  show(text, bytes = this.size) {
    progress.querySelector("progress").value = this.size ? (100 * bytes) / this.size : 0;
    progress.querySelector("[data-sent]").textContent = text;
  }

  tell(text) {
    progress.querySelector("[data-told]").textContent = text;
  }
}

function rest() {
  progress.hidden = stop.hidden = true;
  form.querySelector("button:not([type='button'])").disabled = false;
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  fields.delete(input.name);
  const upload = new Upload([...input.files], form.dataset.upload);
  stop.onclick = () => upload.stop();
  document.getElementById("notice").replaceChildren();
  progress.hidden = stop.hidden = false;
  form.querySelector("button:not([type='button'])").disabled = true;
  upload.show("", 0);
  upload.tell("");
  try {
    location.assign(await upload.send(fields));
  } catch (error) {
    rest();
    if (error instanceof Stopped) return notice("Stopped. What was sent is kept for a day: press Add to go on from there.");
    if (error.status === 404) memory.drop(upload.key);
    notice(error.message);
    if (!(error instanceof Refused)) throw error;
  }
});
