// Undo and redo. A step changes some objects of one image: [{ id, before, after }], before and after an object or null.

const MOST = 500;

export class History {
  #done = [];
  #undone = [];

  clear() {
    [this.#done, this.#undone] = [[], []];
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  push(changes) {
    this.#done.push(changes.map((change) => ({ ...change })));
    if (this.#done.length > MOST) this.#done.shift();
    this.#undone = [];
  }

  /** Replace the outcome of an object's last change, for example once the mask of its prompt has arrived. */
  amend(id, after) {
    for (const changes of [...this.#done].reverse()) {
      const change = changes.find((one) => one.id === id);
      if (change) {
        change.after = after;
        return;
      }
    }
  }

  /** What the objects of the last step were before: [[id, object or null]]. */
  undo() {
    return this.#move(this.#done, this.#undone, "before");
  }

  /** What the objects of the last undone step were after it. */
  redo() {
    return this.#move(this.#undone, this.#done, "after");
  }

  #move(from, to, side) {
    const changes = from.pop();
    if (!changes) return [];
    to.push(changes);
    return changes.map((change) => [change.id, change[side]]);
  }
}
