// What is done to the objects of an image. Every change is shown at once, can be undone, and is saved.

import * as api from "./api.js";
import { boxFields, boxOf, corners, radians } from "./boxes.js";
import { History } from "./history.js";
import { bounds, brushed, overlap, tidy } from "./outlines.js";
import { contentOf } from "./saving.js";
import { extent, newId } from "./state.js";
import { counted } from "./words.js";

const SIMPLIFY = 0.75; // pixels that an outline may move to have corners that can be edited
const LEAST_SIDE = 2; // pixels of a box
const PAUSE = 250; // milliseconds without a key before the mask of a moved box is computed
const ONE_STEP = 1000; // milliseconds: keys pressed in this time are undone together
const TRIES = 4;
const SAME = 0.5; // intersection over union from which a candidate counts as an object that exists already

export class Editor {
  #running = new Map(); // by id, what computes the mask: { abort, done }
  #nudged = { id: null, time: 0, timer: null };
  history = new History();

  /**
   * @param state - the page's
   * @param saving - saves the objects
   * @param announce - says a sentence to the user
   */
  constructor(state, saving, announce) {
    Object.assign(this, { state, saving, announce });
  }

  /** Show an image, once everything of the one before it is saved. */
  async open(image) {
    await this.settled();
    const found = await api.objects(image.id);
    this.saving.know(found);
    this.history.clear();
    const objects = new Map(found.map((object) => [object.id, object]));
    this.state.set({ image, selected: null, vertex: null });
    this.#show(objects);
  }

  /** Wait until no mask is being computed and everything is saved. */
  async settled() {
    this.#segmentNudged();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
    await this.saving.idle();
  }

  /** Take over what another browser has saved, unless something here is not saved yet. */
  async refresh() {
    const { image } = this.state;
    if (!image || !this.#isQuiet()) return;
    const found = await api.objects(image.id);
    if (this.state.image !== image || !this.#isQuiet()) return;
    const known = this.state.objects;
    const isSame = found.length === known.size && found.every((o) => sameContent(o, known.get(o.id)));
    this.saving.know(found);
    if (!isSame) this.#show(new Map(found.map((object) => [object.id, object])));
  }

  #isQuiet() {
    return this.saving.isIdle && this.#running.size === 0;
  }

  /** Select an object, or null. A candidate without a mask gets it, to be looked at before it is decided on. */
  select(id) {
    if (id !== this.state.selected) this.state.set({ selected: id, vertex: null });
    const { current } = this.state;
    if (current?.state === "candidate" && !current.polygons.length && !this.#running.has(id)) this.#segment(current);
  }

  /** Add an object with a box, and ask for its mask. */
  addBox(box) {
    if (this.#isUsable(box)) this.#addPrompted(boxFields(box));
  }

  /** Add a point to the selected object, or begin an object with it. */
  addPoint(point, isOn) {
    const { current, image } = this.state;
    const [x, y] = point;
    if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
    if (!current) {
      if (isOn) this.#addPrompted({ points: [point], labels: [1] });
      else this.announce("Select an object first: this point says what does not belong to it.");
      return;
    }
    this.#prompt({ points: [...current.points, point], labels: [...current.labels, isOn ? 1 : 0] });
  }

  /** Take back the last point of the selected object. */
  removePoint() {
    const { current } = this.state;
    if (!current?.points.length) return;
    const points = current.points.slice(0, -1);
    if (!points.length && !boxOf(current)) this.remove();
    else this.#prompt({ points, labels: current.labels.slice(0, -1) });
  }

  /** Give the selected object another box. */
  setBox(box) {
    if (this.#isUsable(box)) this.#prompt(boxFields(box));
  }

  /** Whether a box can be a prompt: it is no slip of the hand, and not outside the image. */
  #isUsable(box) {
    if (Math.min(box.width, box.height) < LEAST_SIDE) return false;
    const { width, height } = this.state.image;
    const [x1, y1, x2, y2] = bounds(corners(box));
    if (x1 < width && y1 < height && x2 > 0 && y2 > 0) return true;
    this.announce("The box lies outside the image.");
    return false;
  }

  /** Move, resize or rotate the box of the selected object a little; the mask follows when the keys rest. */
  nudge({ x = 0, y = 0, width = 0, height = 0, rotate = 0 }) {
    const { current } = this.state;
    const box = boxOf(current);
    if (!box) return;
    const moved = {
      cx: box.cx + x,
      cy: box.cy + y,
      width: Math.max(LEAST_SIDE, box.width + width),
      height: Math.max(LEAST_SIDE, box.height + height),
      angle: box.angle + radians(rotate),
    };
    if (!this.#isUsable(moved)) return;
    const after = { ...current, ...boxFields(moved), source: "prompt" };
    const now = performance.now();
    const joins = this.#nudged.id === current.id && now - this.#nudged.time < ONE_STEP;
    if (joins) clearTimeout(this.#nudged.timer);
    else this.#segmentNudged(); // another object's
    if (joins) {
      this.history.amend(current.id, after);
      this.#apply([[current.id, after]]);
    } else {
      this.#commit([{ id: current.id, before: current, after }]);
    }
    this.#nudged = { id: current.id, time: now, timer: setTimeout(() => this.#segmentNudged(), PAUSE) };
  }

  #segmentNudged() {
    const { id, timer } = this.#nudged;
    if (timer === null) return;
    clearTimeout(timer);
    this.#nudged.timer = null;
    const object = this.state.objects.get(id);
    if (object) this.#segment(object);
  }

  /** Paint on the outline of the selected object, or begin one. */
  brush(path, adds) {
    const { current, brushRadius } = this.state;
    if (!current && !adds) {
      this.announce("Select an object first: the eraser removes a part of it.");
      return;
    }
    const polygons = brushed(current?.polygons ?? [], path, brushRadius, adds);
    if (!polygons.length) this.announce("Nothing would be left of the object; remove it with Delete.");
    else if (current) this.#setOutline(polygons);
    else this.#add({ polygons, source: "manual" });
  }

  /** Replace the outline of the selected object. */
  setRings(rings) {
    const polygons = tidy(rings);
    if (polygons.length) this.#setOutline(polygons);
  }

  /** Set the class of the selected object, and of what is drawn next. */
  setClass(name) {
    const { current } = this.state;
    this.state.set({ className: name });
    if (current && current.class !== name) {
      this.#commit([{ id: current.id, before: current, after: { ...current, class: name } }]);
    }
  }

  async addClass(name) {
    const { classes } = await api.project(); // another window may have added some
    if (!classes.includes(name)) await api.setClasses([...classes, name]);
    this.#learnClasses([...classes, name]);
    this.setClass(name);
  }

  /** Remove the selected object. */
  remove() {
    const { current, list } = this.state;
    if (!current) return;
    const index = list.findIndex((object) => object.id === current.id);
    this.#commit([{ id: current.id, before: current, after: null }]);
    this.announce(`Removed ${current.class} ${index + 1}.`);
  }

  /** Ask the detector for objects: of one class, or of all. They become candidates. */
  async find(className = null) {
    const { image } = this.state;
    await this.settled();
    const found = await api.detect(image.id, { ...(className ? { class: className } : {}), simplify: SIMPLIFY });
    if (this.state.image !== image) return;
    this.saving.know(found);
    const kept = [...this.state.objects.values()].filter((o) => o.state !== "candidate" || o.source !== "detector");
    const isNew = (candidate) => !kept.some((object) => isSameObject(object, candidate));
    const [added, known] = [found.filter(isNew), found.filter((candidate) => !isNew(candidate))];
    for (const { id } of known) this.saving.save(image.id, id, null);
    this.#show(new Map([...kept, ...added].map((object) => [object.id, object])));
    this.announce(added.length ? `Found ${counted(added.length, "candidate")}: accept with A, reject with X.` : "Found nothing new.");
    this.select(this.state.candidates[0]?.id ?? null);
  }

  /** Accept or reject the selected candidate, and select the next one. */
  decide(accepts) {
    const { current, candidates } = this.state;
    if (current?.state !== "candidate") return;
    const index = candidates.findIndex((object) => object.id === current.id);
    const next = candidates[index + 1] ?? candidates[index - 1] ?? null;
    const after = accepts ? { ...current, state: "accepted" } : null;
    this.#commit([{ id: current.id, before: current, after }]);
    if (accepts && !current.polygons.length) this.#segment(after);
    this.select(next?.id ?? null);
    const left = counted(this.state.candidates.length, "candidate");
    this.announce(`${accepts ? "Accepted" : "Rejected"}; ${left} left.`);
  }

  /** Accept or reject all candidates, as one step. */
  decideAll(accepts) {
    const { candidates } = this.state;
    if (!candidates.length) return;
    const after = (object) => (accepts ? { ...object, state: "accepted" } : null);
    const changes = candidates.map((object) => ({ id: object.id, before: object, after: after(object) }));
    this.#commit(changes);
    for (const change of changes) {
      if (accepts && !change.before.polygons.length) this.#segment(change.after);
    }
    this.announce(`${accepts ? "Accepted" : "Rejected"} ${counted(changes.length, "candidate")}.`);
  }

  undo() {
    this.#restore(this.history.undo(), "Nothing to undo.", "Undone.");
  }

  redo() {
    this.#restore(this.history.redo(), "Nothing to redo.", "Redone.");
  }

  /** Show what the server has of an object in place of ours. */
  adopt(image, id, object) {
    if (this.state.image?.id !== image) return;
    const objects = new Map(this.state.objects);
    if (object) objects.set(id, object);
    else objects.delete(id);
    this.#show(objects);
  }

  #addPrompted(fields) {
    this.#segment(this.#add({ ...fields, source: "prompt" }));
  }

  #add(fields) {
    const object = {
      id: newId(),
      class: this.state.className,
      box: null,
      oriented_box: null,
      points: [],
      labels: [],
      polygons: [],
      score: null,
      state: "accepted",
      ...fields,
    };
    this.#commit([{ id: object.id, before: null, after: object }]);
    this.select(object.id);
    return object;
  }

  #prompt(fields) {
    const { current } = this.state;
    if (!current) return;
    const after = { ...current, ...fields, source: "prompt", state: "accepted" };
    this.#commit([{ id: current.id, before: current, after }]);
    this.#segment(after);
  }

  #setOutline(polygons) {
    const { current } = this.state;
    const after = { ...current, polygons, source: "manual", score: null, state: "accepted" };
    this.#commit([{ id: current.id, before: current, after }]);
  }

  #segment(object) {
    this.#running.get(object.id)?.abort.abort();
    const abort = new AbortController();
    const done = this.#ask(object, abort.signal).finally(() => {
      if (this.#running.get(object.id)?.abort !== abort) return;
      this.#running.delete(object.id);
      this.#setWaiting(object.id, false);
    });
    this.#running.set(object.id, { abort, done });
    this.#setWaiting(object.id, true);
  }

  async #ask(object, signal) {
    const { image } = this.state;
    const { box, oriented_box, points, labels } = object;
    for (let tried = 1; ; tried++) {
      try {
        const found = await api.segment(image.id, { box, oriented_box, points, labels, simplify: SIMPLIFY }, signal);
        this.#found(image, object, found);
        return;
      } catch (error) {
        if (error.name === "AbortError") return;
        if (!(error instanceof api.Refused)) throw error;
        if (!error.isTransient || tried === TRIES) {
          this.announce(`No mask: ${error.message}`);
          return;
        }
        await new Promise((done) => setTimeout(done, 500 * tried));
        if (signal.aborted) return;
      }
    }
  }

  #found(image, asked, { polygons, score }) {
    const now = this.state.image === image ? this.state.objects.get(asked.id) : null;
    const isOfThis = now && ["box", "oriented_box", "points"].every((field) => equal(now[field], asked[field]));
    if (!isOfThis || now.source === "manual") return;
    const after = { ...now, polygons, score };
    this.history.amend(asked.id, after);
    this.#apply([[asked.id, after]]);
    this.announce(polygons.length ? `Mask of ${now.class}, score ${score.toFixed(2)}.` : "The mask is empty; add a point.");
  }

  #setWaiting(id, waits) {
    const waiting = new Set(this.state.waiting);
    if (waits) waiting.add(id);
    else waiting.delete(id);
    this.state.set({ waiting });
  }

  #commit(changes) {
    this.history.push(changes);
    this.#apply(changes.map(({ id, after }) => [id, after]));
  }

  #restore(pairs, nothing, sentence) {
    if (!pairs.length) {
      this.announce(nothing);
      return;
    }
    for (const [id] of pairs) this.#running.get(id)?.abort.abort();
    this.#apply(pairs);
    if (pairs.length === 1 && pairs[0][1]) this.select(pairs[0][0]);
    this.announce(sentence);
  }

  #apply(pairs) {
    const objects = new Map(this.state.objects);
    for (const [id, object] of pairs) {
      if (object) objects.set(id, object);
      else objects.delete(id);
      this.saving.save(this.state.image.id, id, object && contentOf(object));
    }
    this.#show(objects);
  }

  /** Append classes that the page does not know yet, as the server does with those of objects. */
  #learnClasses(names) {
    const { project } = this.state;
    const classes = [...new Set([...project.classes, ...names])];
    if (classes.length > project.classes.length) this.state.set({ project: { ...project, classes } });
  }

  #show(objects) {
    this.#learnClasses([...objects.values()].map((object) => object.class));
    const { image, images, selected } = this.state;
    const accepted = [...objects.values()].filter((object) => object.state === "accepted").length;
    const counted = { ...image, objects: accepted };
    this.state.set({
      objects,
      image: Object.assign(image, counted),
      images,
      selected: objects.has(selected) ? selected : null,
    });
  }
}

function isSameObject(a, b) {
  const [a1, a2] = [extent(a), extent(b)];
  const isApart = a1[0] >= a2[2] || a2[0] >= a1[2] || a1[1] >= a2[3] || a2[1] >= a1[3];
  return !isApart && overlap(a.polygons, b.polygons) > SAME;
}

function equal(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sameContent(a, b) {
  return b !== undefined && equal(contentOf(a), contentOf(b));
}
