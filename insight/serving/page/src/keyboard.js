// The keys of the page, as they work and as the help shows them.

import { boxOf, rounded } from "./boxes.js";
import { nearestVertex, nextVertex, withVertex, withoutVertex } from "./vertices.js";

const FAR = 8; // pixels of the screen that an arrow moves the cross-hair; with Shift 1
const PAN = 80;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SETTING = "insight.keys";

/** Rows of the help: [keys, what they do]. */
export const HELP = {
  Tools: [
    ["V", "Select: click an object, drag its handles; drag elsewhere moves the map"],
    ["B", "Box: drag, or click two corners"],
    ["T", "Rotated box: drag along one side, then click for the width"],
    ["P", "Include: a point on the object; with Alt or the right button, exclude"],
    ["M", "Exclude: a point outside the object"],
    ["O", "Outline: drag vertices; drag the middle of a side to add one"],
    ["R", "Brush: paint on the outline; Alt or the right button erases"],
    ["E", "Eraser"],
    [", .", "Brush and eraser: smaller, larger"],
    ["Esc", "Cancel drawing, or deselect"],
  ],
  "Selected object": [
    ["1 – 9", "Its class, and that of the next object"],
    ["[ ]", "Rotate its box by 5°; with Shift by 1°"],
    ["Arrows", "With Select: move its box; with Shift: change its width and height"],
    ["Delete", "Remove it; with Outline: the chosen vertex"],
    ["Backspace", "Take back its last point"],
    ["N", "Zoom to the next object; with Shift to the previous one"],
    ["Z", "Zoom to it"],
  ],
  "Drawing by keyboard": [
    ["Arrows", "Move the cross-hair; with Shift finely"],
    ["Enter", "Click there: a corner of a box, a point, a dab of the brush"],
    [", .", "With Outline: previous, next vertex; arrows move it"],
    ["I", "With Outline: add a vertex after the chosen one"],
  ],
  "Found objects": [
    ["F", "Find all; with Shift all of the chosen class"],
    ["A", "Accept the candidate, and go to the next"],
    ["X", "Reject the candidate, and go to the next"],
  ],
  "Image and folder": [
    ["+ −", "Zoom in, zoom out; also the wheel"],
    ["0", "Whole image"],
    ["Space and drag", "Move the map; also the middle button, or two fingers"],
    ["Page\u00a0Down", "Next image; Page Up: the previous one"],
    ["D", "Mark as done, and go to the next image that is not"],
    ["Ctrl Z", "Undo; Ctrl Shift Z or Ctrl Y: redo"],
    ["?", "These shortcuts"],
  ],
};

export const TOOL_KEYS = {
  v: "select",
  b: "box",
  t: "rotated",
  p: "plus",
  m: "minus",
  o: "outline",
  r: "brush",
  e: "eraser",
};

export class Keyboard {
  /** @param page - what the keys work on: its parts and its actions */
  constructor(page) {
    this.page = page;
    this.isOn = localStorage.getItem(SETTING) !== "off";
    window.addEventListener("keydown", (event) => this.#down(event));
    window.addEventListener("keyup", (event) => {
      if (event.key === " ") this.page.pointer.space = false;
    });
    window.addEventListener("blur", () => (this.page.pointer.space = false));
  }

  /** Turn keys that are single characters on or off. */
  setOn(isOn) {
    this.isOn = isOn;
    localStorage.setItem(SETTING, isOn ? "on" : "off");
  }

  #down(event) {
    if (event.defaultPrevented || document.querySelector("dialog[open]") || isTyping(event.target)) return;
    const done = event.ctrlKey || event.metaKey ? this.#withControl(event) : this.#plain(event);
    if (done) event.preventDefault();
  }

  #withControl({ key, shiftKey }) {
    const { editor } = this.page;
    const letter = key.toLowerCase();
    if (letter === "z") shiftKey ? editor.redo() : editor.undo();
    else if (letter === "y") editor.redo();
    else return false;
    return true;
  }

  #plain(event) {
    const { page } = this;
    const onMap = event.target === page.mapElement || event.target === document.body;
    if (event.key === "Escape") {
      page.cancelOrDeselect();
      return true;
    }
    if (onMap && this.#onMap(event)) return true;
    if (event.key === "PageDown" || event.key === "PageUp") {
      page.goTo(event.key === "PageDown" ? 1 : -1);
      return true;
    }
    if (event.key === "Delete") {
      this.#remove();
      return true;
    }
    return this.isOn && !event.altKey && this.#character(event);
  }

  #onMap(event) {
    const { key, altKey } = event;
    if (key in ARROWS) {
      this.#arrow(ARROWS[key], event.shiftKey);
      return true;
    }
    if (key === "Enter") {
      this.#press(altKey);
      return true;
    }
    if (key === " ") {
      this.page.pointer.space = true;
      return true;
    }
    if (key === "Backspace") {
      this.page.editor.removePoint();
      return true;
    }
    return false;
  }

  #arrow([dx, dy], isShift) {
    const { state, editor, imageView, crosshair, tool } = this.page;
    const step = Math.max(1, Math.round(2 * imageView.resolution));
    if (state.tool === "outline" && state.vertex && state.current) {
      this.#moveVertex(dx * (isShift ? 0.25 * step : step), dy * (isShift ? 0.25 * step : step));
    } else if (["select", "outline"].includes(state.tool)) {
      if (!boxOf(state.current)) imageView.pan(dx * PAN, dy * PAN);
      else if (isShift) editor.nudge({ width: dx * step, height: -dy * step });
      else editor.nudge({ x: dx * step, y: dy * step });
    } else {
      const far = isShift ? 1 : FAR;
      crosshair.move(dx * far, dy * far);
      tool.hover(crosshair.point);
    }
  }

  #press(alt) {
    const { state, crosshair, tool, editor } = this.page;
    if (!crosshair.isShown) crosshair.show();
    const point = crosshair.point.map(rounded);
    if (state.tool === "select" || state.tool === "outline") {
      editor.select(state.at(point)?.id ?? null);
      return;
    }
    tool.press(point, { alt });
    tool.release(point, false);
    if (tool.isBusy) tool.hover(point);
  }

  #remove() {
    const { state, editor } = this.page;
    const { current, vertex, tool } = state;
    if (tool !== "outline" || !vertex || !current) {
      editor.remove();
      return;
    }
    const place = current.polygons[vertex.ring][vertex.index];
    const rings = withoutVertex(current.polygons, vertex);
    if (!rings.length) return;
    editor.setRings(rings);
    state.set({ vertex: nearestVertex(state.current.polygons, place) });
  }

  #moveVertex(dx, dy) {
    const { state, editor } = this.page;
    const { polygons } = state.current;
    const [x, y] = polygons[state.vertex.ring][state.vertex.index];
    const place = [x + dx, y + dy];
    editor.setRings(withVertex(polygons, { kind: "vertex", ...state.vertex }, place));
    state.set({ vertex: nearestVertex(state.current.polygons, place) });
  }

  #addVertex() {
    const { state, editor } = this.page;
    const { vertex, current } = state;
    if (!vertex || !current) return;
    const ring = current.polygons[vertex.ring];
    const [[x, y], [x2, y2]] = [ring[vertex.index], ring[(vertex.index + 1) % ring.length]];
    // A little beside the line: a vertex on it would be tidied away.
    const middle = [(x + x2) / 2 + (y2 - y) * 0.05, (y + y2) / 2 - (x2 - x) * 0.05];
    editor.setRings(withVertex(current.polygons, { kind: "middle", ...vertex }, middle));
    state.set({ vertex: nearestVertex(state.current.polygons, middle) });
  }

  #character({ key, shiftKey }) {
    const { page } = this;
    const { state, editor, imageView } = page;
    const letter = key.toLowerCase();
    if (letter in TOOL_KEYS) page.setTool(TOOL_KEYS[letter]);
    else if (/^[1-9]$/.test(key)) page.chooseClass(Number(key) - 1);
    else if (key === "[" || key === "]") editor.nudge({ rotate: key === "]" ? 5 : -5 });
    else if (key === "{" || key === "}") editor.nudge({ rotate: key === "}" ? 1 : -1 });
    else if (key === "," || key === ".") this.#smallerOrNext(key === "." ? 1 : -1);
    else if (letter === "i") this.#addVertex();
    else if (letter === "n") page.next(shiftKey ? -1 : 1);
    else if (letter === "z") page.zoomToSelected();
    else if (letter === "f") page.find(shiftKey);
    else if (letter === "a") page.decide(true);
    else if (letter === "x") page.decide(false);
    else if (letter === "d") page.finish();
    else if (key === "+" || key === "=") imageView.zoomBy(1.5);
    else if (key === "-") imageView.zoomBy(1 / 1.5);
    else if (key === "0") imageView.fit();
    else if (key === "?") page.showHelp();
    else return false;
    return true;
  }

  #smallerOrNext(step) {
    const { state } = this.page;
    if (state.tool === "outline" && state.current) {
      state.set({ vertex: nextVertex(state.current.polygons, state.vertex, step) });
      return;
    }
    const radius = Math.round(state.brushRadius * (step > 0 ? 1.3 : 1 / 1.3) * 10) / 10;
    state.set({ brushRadius: Math.min(200, Math.max(0.5, radius)) });
    this.page.announce(`Brush: ${(2 * state.brushRadius).toFixed(0)} pixels wide.`);
  }
}

function isTyping({ tagName, type, isContentEditable }) {
  const isText = tagName === "INPUT" && !["checkbox", "radio", "button", "range"].includes(type);
  return isText || tagName === "TEXTAREA" || tagName === "SELECT" || isContentEditable;
}
