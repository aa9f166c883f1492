import { boxOnSide } from "../boxes.js";

/** Draws a rotated box: along one side, by a drag or two clicks, and then a click for the width. */
export class RotatedBoxTool {
  #points = [];

  constructor(editor, drawing) {
    Object.assign(this, { editor, drawing });
  }

  get isBusy() {
    return this.#points.length > 0;
  }

  press(point) {
    if (this.#points.length === 2) this.#finish(point);
    else this.#points.push(point);
  }

  hover(point) {
    if (this.#points.length === 1) this.drawing.drawDraft({ line: [this.#points[0], point] });
    if (this.#points.length === 2) this.drawing.drawDraft({ box: boxOnSide(...this.#points, point) });
  }

  release(point, isDrag) {
    if (this.#points.length === 1 && isDrag) this.#points.push(point);
  }

  cancel() {
    this.#points = [];
    this.drawing.drawDraft();
  }

  #finish(point) {
    const box = boxOnSide(...this.#points, point);
    this.cancel();
    this.editor.addBox(box);
  }
}
