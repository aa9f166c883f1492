// The page: its parts, put together.

import "ol/ol.css";
import "./page.css";
import * as api from "./api.js";
import { Crosshair } from "./crosshair.js";
import { askAboutConflict, showHelp } from "./dialogs.js";
import { Drawing } from "./drawing.js";
import { Editor } from "./editor.js";
import { showClasses } from "./classes_panel.js";
import { showHeader } from "./header.js";
import { showImages } from "./images_panel.js";
import { Keyboard } from "./keyboard.js";
import { showObjects } from "./objects_panel.js";
import { Pointer } from "./pointer.js";
import { Saving } from "./saving.js";
import { extent, State } from "./state.js";
import { showTabs } from "./tabs.js";
import { showToolbar } from "./toolbar.js";
import { BoxTool } from "./tools/box.js";
import { BrushTool } from "./tools/brush.js";
import { PointsTool } from "./tools/points.js";
import { RotatedBoxTool } from "./tools/rotated_box.js";
import { SelectTool } from "./tools/select.js";
import { ImageView } from "./view.js";
import { counted } from "./words.js";

const POLL = 15000; // milliseconds between looks at what other browsers have saved

class Page {
  constructor() {
    this.mapElement = document.getElementById("map");
    this.state = new State();
    this.saving = new Saving(this.state, {
      ask: (id, mine, theirs) => this.#askAboutConflict(mine, theirs),
      adopt: (image, id, object) => this.editor.adopt(image, id, object),
      report: (sentence) => this.announce(sentence, true),
    });
    this.editor = new Editor(this.state, this.saving, (sentence) => this.announce(sentence));
    this.imageView = new ImageView(this.mapElement, (event) => this.pointer.pans(event));
    this.drawing = new Drawing(this.imageView, this.state);
    const { editor, drawing } = this;
    this.tools = {
      select: new SelectTool(editor),
      box: new BoxTool(editor, drawing),
      rotated: new RotatedBoxTool(editor, drawing),
      plus: new PointsTool(editor, true),
      minus: new PointsTool(editor, false),
      outline: new SelectTool(editor), // its vertices are handles
      brush: new BrushTool(editor, drawing, true),
      eraser: new BrushTool(editor, drawing, false),
    };
    this.pointer = new Pointer(this);
    this.imageView.map.addInteraction(this.pointer);
    this.crosshair = new Crosshair(this.imageView);
    this.keyboard = new Keyboard(this);
    this.imageView.map.on("moveend", () => this.drawing.zoomed());
    this.mapElement.addEventListener("contextmenu", (event) => event.preventDefault());
    this.mapElement.addEventListener("pointerdown", () => this.mapElement.focus({ preventScroll: true }));
    this.mapElement.addEventListener("pointermove", () => this.crosshair.hide());
    showHeader(this);
    showToolbar(this);
    showObjects(this);
    showClasses(this);
    showImages(this);
    showTabs();
    window.addEventListener("beforeunload", (event) => {
      if (!this.saving.isIdle) event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => this.#refresh());
    setInterval(() => this.#refresh(), POLL);
  }

  /** Load the folder and show its first image that is not done, or the one that the address names. */
  async start() {
    await this.attempt(async () => {
      const [project, images, models] = await Promise.all([api.project(), api.images(), api.models()]);
      const detector = models.models.find(({ name }) => name === project.detector);
      this.state.set({ project: { ...project, detectable: detector?.classes ?? [] }, images });
      if (project.classes.length) this.state.set({ className: project.classes[0] });
      const usable = images.filter((image) => !image.error);
      const named = usable.find(({ id }) => id === location.hash.slice(1));
      const first = named ?? usable.find((image) => !image.done) ?? usable[0];
      if (first) await this.open(first);
      else this.announce("There is no image that can be shown.", true);
    });
    document.body.dataset.ready = "true";
  }

  async open(image) {
    if (image.error) {
      this.announce(`${image.name}: ${image.error}.`, true);
      return;
    }
    await this.attempt(async () => {
      this.cancelOrDeselect();
      await this.editor.open(image);
      this.imageView.show(image, this.state.project.tile_size);
      this.crosshair.point = null;
      this.crosshair.hide();
      history.replaceState(null, "", `#${image.id}`);
      document.title = `${image.name} – insight`;
      this.announce(`${image.name}, ${counted(this.state.list.length, "object")}.`);
    });
  }

  /** Open the next image (1) or the one before (-1), skipping those that cannot be read. */
  async goTo(step) {
    const { images, image } = this.state;
    let at = images.indexOf(image) + step;
    while (images[at]?.error) at += step;
    const next = images[at];
    if (next) await this.open(next);
    else this.announce(step > 0 ? "This is the last image." : "This is the first image.");
  }

  /** Mark the image as done, and open the next one that is not. */
  async finish() {
    const { image } = this.state;
    await this.setDone(true);
    const { images } = this.state;
    const at = images.indexOf(image);
    const left = [...images.slice(at + 1), ...images.slice(0, at)].filter(({ done, error }) => !done && !error);
    if (left.length) await this.open(left[0]);
    else this.announce("All images are done.");
  }

  async setDone(done) {
    const { image } = this.state;
    await this.attempt(async () => {
      await this.editor.settled();
      await api.setDone(image.id, done);
      image.done = done;
    });
    this.state.set({ images: this.state.images });
  }

  get tool() {
    return this.tools[this.state.tool];
  }

  setTool(name) {
    this.tool.cancel();
    this.state.set({ tool: name, vertex: null });
    if (["select", "outline"].includes(name)) this.crosshair.hide();
  }

  /** Cancel what is being drawn; if nothing is, deselect. */
  cancelOrDeselect() {
    if (this.tool.isBusy) this.tool.cancel();
    else if (this.state.vertex) this.state.set({ vertex: null });
    else this.editor.select(null);
  }

  chooseClass(index) {
    const name = this.state.classes[index];
    if (!name) return;
    this.editor.setClass(name);
    this.announce(`Class: ${name}.`);
  }

  async addClass(name) {
    await this.attempt(async () => {
      await this.editor.addClass(name);
      this.announce(`Class: ${name}.`);
    });
  }

  /** Select the object `step` places further in the list, and zoom to it. */
  next(step) {
    const { list, selected } = this.state;
    if (!list.length) return;
    const at = list.findIndex(({ id }) => id === selected);
    const next = at < 0 ? list[step > 0 ? 0 : list.length - 1] : list[(at + step + list.length) % list.length];
    this.editor.select(next.id);
    this.zoomToSelected();
  }

  zoomToSelected() {
    const { current } = this.state;
    if (current) this.imageView.zoomTo(extent(current));
  }

  async find(onlyClass) {
    if (!this.state.project?.detector) {
      this.announce("This server has no model that finds objects; start it with one.", true);
      return;
    }
    this.announce("Looking for objects…");
    this.state.set({ finding: true });
    await this.attempt(() => this.editor.find(onlyClass ? this.state.className : null));
    this.state.set({ finding: false });
  }

  /** Accept or reject the selected candidate; select the first where none is selected. */
  decide(accepts) {
    const { candidates, selected } = this.state;
    if (!candidates.length) return;
    if (candidates.some(({ id }) => id === selected)) {
      this.editor.decide(accepts);
    } else {
      this.editor.select(candidates[0].id); // to be looked at before it is decided on
      this.announce(`The first of ${counted(candidates.length, "candidate")}: accept with A, reject with X.`);
    }
    const { current } = this.state;
    if (current) this.imageView.revealBox(extent(current));
  }

  showHelp() {
    showHelp(this.keyboard);
  }

  /** Say something to the user: on the status line, which screen readers read. */
  announce(sentence, isError = false) {
    const line = document.getElementById("message");
    line.textContent = sentence;
    line.classList.toggle("error", isError);
  }

  /** Run an action that asks the server, and report what goes wrong. */
  async attempt(action) {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      const sentence =
        error.status === 401 ? "This page needs the token: open the address that the server printed." : error.message;
      this.announce(sentence, true);
    }
  }

  async #askAboutConflict(mine, theirs) {
    this.drawing.showOther(theirs);
    const answer = await askAboutConflict(mine, theirs);
    this.drawing.showOther(null);
    return answer;
  }

  async #refresh() {
    if (document.hidden || this.tool.isBusy) return;
    try {
      await this.editor.refresh();
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
    }
  }
}

const page = new Page();
window.insight = page; // for the console and for tests
page.start();
