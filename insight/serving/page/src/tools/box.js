import { boxBetween } from "../boxes.js";

/** Draws a horizontal box: from one corner to the opposite one, by a drag or two clicks. */
export class BoxTool {
  #start = null;

  constructor(editor, drawing) {
    Object.assign(this, { editor, drawing });
  }

  get isBusy() {
    return this.#start !== null;
  }

  press(point) {
    if (this.#start) this.#finish(point);
    else this.#start = point;
  }

  hover(point) {
    if (this.#start) this.drawing.drawDraft({ box: boxBetween(this.#start, point) });
  }

  release(point, isDrag) {
    if (this.#start && isDrag) this.#finish(point);
  }

  cancel() {
    this.#start = null;
    this.drawing.drawDraft();
  }

  #finish(point) {
    const box = boxBetween(this.#start, point);
    this.cancel();
    this.editor.addBox(box);
  }
}
