/** Paints on an outline (with Alt: erases), or the other way round. */
export class BrushTool {
  #path = null;
  #adds = true;

  constructor(editor, drawing, adds) {
    Object.assign(this, { editor, drawing, adds });
  }

  get isBusy() {
    return this.#path !== null;
  }

  press(point, { alt = false } = {}) {
    this.#adds = this.adds !== alt;
    this.#path = [point];
    this.#draw(this.#path);
  }

  hover(point) {
    if (this.#path) this.#path.push(point);
    this.#draw(this.#path ?? [point]);
  }

  release(point) {
    if (!this.#path) return;
    const path = [...this.#path, point];
    this.cancel();
    this.editor.brush(path, this.#adds);
  }

  cancel() {
    this.#path = null;
    this.drawing.drawDraft();
  }

  #draw(line) {
    const adds = this.#path ? this.#adds : this.adds;
    this.drawing.drawDraft({ line, radius: this.editor.state.brushRadius, adds });
  }
}
