// The dialogs: the keys, and an object that was changed elsewhere.

import { element } from "./elements.js";
import { HELP } from "./keyboard.js";
import { area } from "./outlines.js";

export function showHelp(keyboard) {
  const dialog = document.getElementById("help-dialog");
  const body = document.getElementById("keys");
  body.replaceChildren(
    ...Object.entries(HELP).map(([title, rows]) =>
      element(
        "section",
        {},
        element("h3", {}, title),
        element("dl", {}, ...rows.flatMap(([keys, what]) => [element("dt", {}, ...caps(keys)), element("dd", {}, what)])),
      ),
    ),
  );
  const letters = document.getElementById("single-keys");
  letters.checked = keyboard.isOn;
  letters.onchange = () => keyboard.setOn(letters.checked);
  dialog.showModal();
}

/** Ask whose version of an object stays: "mine" or "theirs". Esc keeps theirs, which is what is stored. */
export function askAboutConflict(mine, theirs) {
  const dialog = document.getElementById("conflict-dialog");
  document.getElementById("conflict-theirs").textContent = theirs ? describe(theirs) : "removed";
  document.getElementById("conflict-mine").textContent = mine ? describe(mine) : "removed";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "mine" ? "mine" : "theirs"), { once: true });
  });
}

function describe(object) {
  const outline = object.polygons.length ? `${Math.round(area(object.polygons))} pixels` : "no mask";
  return `${object.class}, ${outline}${object.state === "candidate" ? ", candidate" : ""}`;
}

function caps(keys) {
  return keys.split(" ").flatMap((key) => (["and", "–"].includes(key) ? [` ${key} `] : [element("kbd", {}, key), " "]));
}
