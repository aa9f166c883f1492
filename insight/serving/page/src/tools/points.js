/** Sets points on the object (with Alt: outside it), or the other way round. */
export class PointsTool {
  isBusy = false;

  constructor(editor, isOn) {
    Object.assign(this, { editor, isOn });
  }

  press(point, { alt = false } = {}) {
    this.editor.addPoint(point, this.isOn !== alt);
  }

  hover() {}

  release() {}

  cancel() {}
}
