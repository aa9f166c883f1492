// Hands what a pointer does on the map to the handle under it, or to the tool.

import PointerInteraction from "ol/interaction/Pointer.js";
import { angleTowards, boxOf, degrees, radians, rounded, withCorner } from "./boxes.js";
import { handleAt, handlesOf } from "./handles.js";
import { nearestVertex, withVertex } from "./vertices.js";
import { toImage } from "./view.js";

const SLIP = 4; // pixels of the screen: a shorter movement is a click
const SNAP = 15; // degrees, with Shift

export class Pointer extends PointerInteraction {
  #handle = null;
  #changed = null; // what the handle has made: { box } or { rings }
  #start = null; // pixel of the screen
  space = false; // held: the map is moved

  constructor({ imageView, state, editor, drawing, tools }) {
    super();
    Object.assign(this, { imageView, state, editor, drawing, tools });
  }

  get tool() {
    return this.tools[this.state.tool];
  }

  /** Whether a pointer event moves the map: it is the wheel, the space bar is held, or nothing else wants it. */
  pans(event) {
    return this.space || event.originalEvent.button <= 1;
  }

  handleDownEvent(event) {
    const { button, shiftKey, altKey, pointerType } = event.originalEvent;
    if (!this.state.image || this.space || button === 1 || this.targetPointers.length > 1) return false;
    const point = pointOf(event);
    this.#start = event.pixel;
    this.#handle = shiftKey && this.state.tool !== "outline" ? null : this.#handleAt(point, pointerType);
    if (this.#handle?.kind === "vertex") {
      this.state.set({ vertex: { ring: this.#handle.ring, index: this.#handle.index } });
    }
    if (this.#handle && button === 0 && !this.tool.isBusy) return true;
    this.#handle = null;
    if (isSelecting(this.state.tool)) return false; // it may become a drag of the map; see handleEvent
    this.tool.press(point, { alt: altKey || button === 2 });
    this.tool.hover(point);
    return true;
  }

  handleDragEvent(event) {
    if (this.targetPointers.length > 1) {
      this.#cancel();
      return;
    }
    const point = pointOf(event);
    if (this.#handle) {
      this.#changed = this.#change(point, event.originalEvent.shiftKey);
      this.drawing.drawSelected(this.#changed);
    } else {
      this.tool.hover(point);
    }
  }

  handleUpEvent(event) {
    const isDrag = Math.hypot(event.pixel[0] - this.#start[0], event.pixel[1] - this.#start[1]) > SLIP;
    if (this.#handle && !isDrag && !isSelecting(this.state.tool)) {
      // A click, not a drag: meant for what lies under the handle.
      this.#handle = null;
      this.tool.press(pointOf(event), { alt: event.originalEvent.altKey });
    }
    if (!this.#handle) {
      this.tool.release(pointOf(event), isDrag);
    } else if (this.#changed && isDrag) {
      const { box, rings } = this.#changed;
      if (box) this.editor.setBox(box);
      else {
        this.editor.setRings(rings);
        this.state.set({ vertex: nearestVertex(this.state.current?.polygons ?? [], pointOf(event)) });
      }
    }
    if (this.#handle) this.drawing.drawSelected();
    [this.#handle, this.#changed] = [null, null];
    return false;
  }

  handleMoveEvent(event) {
    if (!this.state.image || event.dragging) return;
    this.tool.hover(pointOf(event));
    const handle = this.#handleAt(pointOf(event), event.originalEvent.pointerType);
    const shapes = { corner: "nwse-resize", rotate: "grab", move: "move", vertex: "move", middle: "copy" };
    const plain = isSelecting(this.state.tool) ? "default" : "crosshair";
    this.imageView.map.getTargetElement().style.cursor = handle ? shapes[handle.kind] : plain;
  }

  handleEvent(event) {
    if (event.type === "click" && isSelecting(this.state.tool) && this.state.image) {
      const point = pointOf(event);
      if (!this.#handleAt(point, event.originalEvent.pointerType)) this.tools.select.press(point);
    }
    return super.handleEvent(event);
  }

  #cancel() {
    this.tool.cancel();
    [this.#handle, this.#changed] = [null, null];
    this.drawing.drawSelected();
  }

  #handleAt(point, pointerType) {
    const { current, tool } = this.state;
    if (!current) return null;
    const { resolution } = this.imageView;
    const handles = handlesOf({ tool, box: boxOf(current), rings: current.polygons, resolution });
    return handleAt(handles, point, resolution, pointerType);
  }

  #change(point, snaps) {
    const { current } = this.state;
    const { kind, index } = this.#handle;
    if (kind === "vertex" || kind === "middle") return { rings: withVertex(current.polygons, this.#handle, point) };
    const box = boxOf(current);
    if (kind === "corner") return { box: withCorner(box, index, point) };
    if (kind === "move") return { box: { ...box, cx: point[0], cy: point[1] } };
    const angle = angleTowards(box, point);
    return { box: { ...box, angle: snaps ? radians(Math.round(degrees(angle) / SNAP) * SNAP) : angle } };
  }
}

const isSelecting = (tool) => tool === "select" || tool === "outline";
const pointOf = (event) => toImage(event.coordinate).map(rounded);
