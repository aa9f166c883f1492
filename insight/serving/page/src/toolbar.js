// The toolbar: one stop of the Tab key; arrows move inside it.

export function showToolbar(page) {
  const { state, editor, imageView } = page;
  const bar = document.getElementById("toolbar");
  const buttons = [...bar.querySelectorAll("button")];
  const actions = {
    undo: () => editor.undo(),
    redo: () => editor.redo(),
    remove: () => editor.remove(),
    closer: () => imageView.zoomBy(1.5),
    farther: () => imageView.zoomBy(1 / 1.5),
    whole: () => imageView.fit(),
  };
  bar.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.tool) page.setTool(button.dataset.tool);
    else actions[button.dataset.action]();
  });
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const usable = buttons.filter((button) => !button.disabled);
    const next = usable[(usable.indexOf(buttons[at]) + step + usable.length) % usable.length];
    buttons.forEach((button) => (button.tabIndex = button === next ? 0 : -1));
    next.focus();
  });

  state.on(["tool"], () => {
    for (const button of buttons) {
      const isTool = button.dataset.tool === state.tool;
      if (button.dataset.tool) button.setAttribute("aria-pressed", String(isTool));
      button.tabIndex = isTool ? 0 : -1;
    }
  });
  state.on(["objects", "selected"], () => {
    const usable = { undo: editor.history.canUndo, redo: editor.history.canRedo, remove: Boolean(state.current) };
    for (const button of buttons) {
      const { action } = button.dataset;
      // The one with the focus stays usable: it would lose it.
      if (action in usable) button.disabled = !usable[action] && button !== document.activeElement;
    }
  });
}
