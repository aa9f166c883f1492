// The list of the objects, and what is done with candidates.

import { colourOf } from "./colours.js";
import { element } from "./elements.js";
import { extent } from "./state.js";
import { counted } from "./words.js";

const SOURCES = { prompt: "", detector: "found", manual: "by hand" };

export function showObjects(page) {
  const { state, editor } = page;
  const list = document.getElementById("objects");
  const optionId = (id) => `object-${id}`;

  list.addEventListener("click", (event) => {
    const option = event.target.closest("li");
    if (!option) return;
    editor.select(option.dataset.id);
    reveal(page);
  });
  list.addEventListener("dblclick", () => page.zoomToSelected());
  list.addEventListener("keydown", (event) => {
    const ids = state.list.map(({ id }) => id);
    const at = ids.indexOf(state.selected);
    const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? ids.length - 1 : at - 1, Home: 0, End: ids.length - 1 }[event.key];
    if (event.key === "Enter" && state.current) {
      page.zoomToSelected();
      page.mapElement.focus();
    } else if (to === undefined) {
      return;
    } else if (ids[to]) {
      editor.select(ids[to]);
      reveal(page);
    }
    event.preventDefault();
  });

  state.on(["objects", "selected", "waiting", "project", "className"], () => {
    const { list: objects, selected, waiting, classes } = state;
    list.replaceChildren(
      ...objects.map((object, number) =>
        element(
          "li",
          {
            id: optionId(object.id),
            role: "option",
            "aria-selected": object.id === selected,
            "data-id": object.id,
            "data-state": object.state,
          },
          swatch(colourOf(object.class, classes)),
          element("span", { className: "name", title: object.class }, `${number + 1}. ${object.class}`),
          element("span", { className: "about" }, about(object, waiting)),
        ),
      ),
    );
    list.setAttribute("aria-activedescendant", selected ? optionId(selected) : "");
    document.getElementById("no-objects").hidden = objects.length > 0;
    document.getElementById("objects-count").textContent = String(objects.length);
    document.getElementById(optionId(selected))?.scrollIntoView({ block: "nearest" });
  });
  showCandidates(page);
}

function showCandidates(page) {
  const { state, editor } = page;
  const actions = {
    find: () => page.find(false),
    "find-class": () => page.find(true),
    accept: () => page.decide(true),
    reject: () => page.decide(false),
    "accept-all": () => editor.decideAll(true),
    "reject-all": () => editor.decideAll(false),
  };
  for (const [id, action] of Object.entries(actions)) document.getElementById(id).addEventListener("click", action);
  state.on(["objects", "project", "className", "finding"], () => {
    const { candidates, project, className, finding } = state;
    document.getElementById("candidates").hidden = candidates.length === 0;
    document.getElementById("candidates-count").textContent = counted(candidates.length, "candidate");
    const [all, one] = ["find", "find-class"].map((id) => document.getElementById(id));
    all.hidden = !project?.detector;
    all.disabled = one.disabled = Boolean(finding);
    all.textContent = finding ? "Looking…" : "Find all";
    one.hidden = !project?.detectable?.includes(className);
    one.textContent = `Find: ${className}`;
  });
}

function about(object, waiting) {
  if (waiting.has(object.id)) return "…";
  const score = object.score === null || object.score === undefined ? "" : object.score.toFixed(2);
  const state = object.state === "candidate" ? "candidate" : SOURCES[object.source];
  return [state, object.polygons.length ? score : "no mask"].filter(Boolean).join(" · ");
}

function reveal({ state, imageView }) {
  imageView.revealBox(extent(state.current));
}

export function swatch(colour) {
  const made = element("span", { className: "swatch", "aria-hidden": true });
  made.style.background = colour;
  return made;
}
