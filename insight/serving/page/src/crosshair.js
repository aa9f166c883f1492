// A cross-hair moved by the arrow keys, for those who use no pointer.

import Overlay from "ol/Overlay.js";
import { toMap } from "./view.js";

export class Crosshair {
  #element = document.createElement("div");
  #overlay;
  point = null;

  constructor(imageView) {
    this.imageView = imageView;
    this.#element.className = "crosshair";
    this.#element.hidden = true;
    this.#overlay = new Overlay({ element: this.#element, positioning: "center-center", stopEvent: false });
    imageView.map.addOverlay(this.#overlay);
  }

  /** Show it where it was, or in the middle of the view. */
  show() {
    this.#place(this.point && this.imageView.pixelOf(this.point) ? this.point : this.imageView.center);
  }

  hide() {
    this.#element.hidden = true;
  }

  get isShown() {
    return !this.#element.hidden;
  }

  /** Move it by pixels of the screen; at the border the map follows. */
  move(dx, dy) {
    if (!this.isShown) this.show();
    const { resolution } = this.imageView;
    this.#place([this.point[0] + dx * resolution, this.point[1] + dy * resolution]);
    this.imageView.reveal(this.point);
  }

  #place(point) {
    this.point = point;
    this.#overlay.setPosition(toMap(point));
    this.#element.hidden = false;
  }
}
