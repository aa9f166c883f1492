// Saves objects in the order in which they were changed. What the server refuses for now is sent again; what another
// browser has changed in the meantime is asked about.

import * as api from "./api.js";

const FIELDS = ["class", "box", "oriented_box", "points", "labels", "polygons", "score", "source", "state"];
const FIRST_WAIT = 500; // milliseconds
const LONGEST_WAIT = 8000;

/** The fields of an object that are stored, without its id and revision. */
export function contentOf(object) {
  return Object.fromEntries(FIELDS.map((field) => [field, object[field] ?? null]));
}

export class Saving {
  #jobs = new Map(); // by id, the latest content to save: { image, content or null to remove }
  #revisions = new Map(); // by id
  #running = null;

  /**
   * @param state - its field `saving` is set
   * @param ask - decides about an object that was changed elsewhere: (id, mine, theirs) => promise of "mine" or "theirs"
   * @param adopt - told what the server has instead: (image, id, object or null)
   * @param report - told about what cannot be saved: (sentence)
   */
  constructor(state, { ask, adopt, report }) {
    Object.assign(this, { state, ask, adopt, report });
  }

  /** Note the revisions of objects that the server has sent. */
  know(objects) {
    for (const { id, revision } of objects) this.#revisions.set(id, revision);
  }

  /** Save the content of an object, or null to remove it. */
  save(image, id, content) {
    this.#jobs.set(id, { image, content });
    this.#start();
  }

  get isIdle() {
    return this.#running === null;
  }

  /** Wait until everything is saved. */
  async idle() {
    while (this.#running) await this.#running;
  }

  #start() {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
      if (this.#jobs.size) this.#start(); // came between the last look and now
    });
  }

  async #run() {
    let wait = FIRST_WAIT;
    this.state.set({ saving: "saving" });
    while (this.#jobs.size) {
      const [id, job] = this.#jobs.entries().next().value;
      this.#jobs.delete(id);
      try {
        await this.#send(id, job);
        wait = FIRST_WAIT;
        if (this.state.saving === "offline") this.state.set({ saving: "saving" });
      } catch (error) {
        if (!(error instanceof api.Refused)) throw error;
        await this.#refused(id, job, error, wait);
        if (error.isTransient) wait = Math.min(2 * wait, LONGEST_WAIT);
      }
    }
    this.state.set({ saving: "saved" });
  }

  async #send(id, { image, content }) {
    const revision = this.#revisions.get(id);
    if (content === null) {
      if (revision !== undefined) await api.remove(image, id, revision);
      this.#revisions.delete(id);
    } else {
      const stored =
        revision === undefined
          ? await api.add(image, id, content)
          : await api.change(image, id, revision, content);
      this.#revisions.set(id, stored.revision);
    }
  }

  async #refused(id, job, error, wait) {
    if (error.isTransient) {
      if (!this.#jobs.has(id)) this.#jobs.set(id, job);
      this.state.set({ saving: "offline" });
      await new Promise((done) => setTimeout(done, wait));
    } else if (error.status === 409 && error.current) {
      await this.#changedElsewhere(id, job, error.current);
    } else if (error.status === 404 && this.#revisions.has(id)) {
      this.#revisions.delete(id);
      if (job.content !== null) await this.#changedElsewhere(id, job, null);
    } else {
      this.report(`Not saved: ${error.message}`);
    }
  }

  async #changedElsewhere(id, job, current) {
    if (current) this.#revisions.set(id, current.revision);
    if (current && job.content && same(current, job.content)) return; // ours: its answer was lost on the way
    const latest = this.#jobs.get(id) ?? job;
    this.#jobs.delete(id);
    if ((await this.ask(id, latest.content, current)) === "theirs") {
      this.#jobs.delete(id);
      this.adopt(job.image, id, current);
    } else if (!this.#jobs.has(id)) {
      this.#jobs.set(id, latest);
    }
  }
}

function same(stored, content) {
  return FIELDS.every((field) => JSON.stringify(stored[field] ?? null) === JSON.stringify(content[field] ?? null));
}
