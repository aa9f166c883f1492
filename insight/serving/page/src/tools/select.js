/** Selects what is clicked; a drag away from the handles moves the map. */
export class SelectTool {
  isBusy = false;

  constructor(editor) {
    this.editor = editor;
  }

  press(point) {
    this.editor.select(this.editor.state.at(point)?.id ?? null);
  }

  hover() {}

  release() {}

  cancel() {}
}
