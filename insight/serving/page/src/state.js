// What the page shows. Listeners are called with what they asked for, once it has changed.

import { contains, area, bounds } from "./outlines.js";
import { boxOf, corners } from "./boxes.js";

const DEFAULT_CLASS = "object";

export class State {
  #listeners = [];

  project = null;
  images = [];
  image = null; // of `images`
  objects = new Map(); // by id, those of `image`
  selected = null; // id
  tool = "box";
  className = DEFAULT_CLASS; // of what is drawn next
  vertex = null; // of the selected object: { ring, index }
  brushRadius = 4; // pixels of the image
  waiting = new Set(); // ids of objects whose masks are being computed
  finding = false; // whether the detector is at work
  saving = "saved"; // "saved", "saving", "offline"

  /** Call `listener` at once, and whenever one of these fields is set. */
  on(fields, listener) {
    this.#listeners.push({ fields, listener });
    listener();
  }

  set(changes) {
    Object.assign(this, changes);
    const names = Object.keys(changes);
    for (const { fields, listener } of this.#listeners) {
      if (fields.some((field) => names.includes(field))) listener();
    }
  }

  get current() {
    return this.objects.get(this.selected) ?? null;
  }

  get classes() {
    const known = this.project?.classes ?? [];
    return known.includes(this.className) ? known : [...known, this.className];
  }

  get candidates() {
    return this.list.filter((object) => object.state === "candidate");
  }

  /** The objects in the order in which they are listed: from the top left, row by row. */
  get list() {
    const placed = [...this.objects.values()].map((object) => {
      const [x1, y1, x2, y2] = extent(object);
      return { object, x: (x1 + x2) / 2, y: (y1 + y2) / 2 };
    });
    const row = Math.max(1, (this.image?.height ?? 0) / 20);
    const place = ({ x, y }) => Math.floor(y / row) * 1e7 + x;
    return placed.sort((a, b) => place(a) - place(b)).map(({ object }) => object);
  }

  /** The smallest object at a point, or null. */
  at(point) {
    let best = null;
    let least = Infinity;
    for (const object of this.objects.values()) {
      const rings = object.polygons.length ? object.polygons : boxRings(object);
      const size = Math.abs(area(rings));
      if (size < least && contains(rings, point)) [best, least] = [object, size];
    }
    return best;
  }
}

/** The box x1, y1, x2, y2 around an object. */
export function extent(object) {
  const outline = object.polygons.length ? object.polygons : boxRings(object);
  return bounds([...outline.flat(), ...(outline.length ? [] : object.points)]);
}

function boxRings(object) {
  const box = boxOf(object);
  return box ? [corners(box)] : [];
}

/** A new id: not by crypto.randomUUID, which only a secure address has. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
