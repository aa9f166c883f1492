// The classes: what is drawn next, and the selected object's.

import { colourOf } from "./colours.js";
import { element } from "./elements.js";
import { swatch } from "./objects_panel.js";

export function showClasses(page) {
  const { state } = page;
  const list = document.getElementById("classes");
  const form = document.getElementById("new-class");

  list.addEventListener("change", (event) => page.chooseClass(state.classes.indexOf(event.target.value)));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = form.elements.name.value.trim();
    if (!name) return;
    await page.addClass(name);
    form.reset();
  });

  state.on(["project", "className", "selected", "objects"], () => {
    const { classes, current } = state;
    const chosen = current?.class ?? state.className;
    const hadFocus = list.contains(document.activeElement);
    list.replaceChildren(
      ...classes.map((name, index) =>
        element(
          "label",
          {},
          element("input", { type: "radio", name: "class", value: name, checked: name === chosen }),
          swatch(colourOf(name, classes)),
          element("span", { className: "name", title: name }, name),
          index < 9 ? element("kbd", { "aria-label": `key ${index + 1}` }, String(index + 1)) : "",
        ),
      ),
    );
    if (hadFocus) list.querySelector("input:checked")?.focus();
  });
}
