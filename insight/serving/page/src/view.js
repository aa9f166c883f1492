// The map of one image: its tiles, and what is seen of it. Coordinates of the map are pixels of the image with y upwards.

import OLMap from "ol/Map.js";
import View from "ol/View.js";
import TileLayer from "ol/layer/Tile.js";
import XYZ from "ol/source/XYZ.js";
import TileGrid from "ol/tilegrid/TileGrid.js";
import Projection from "ol/proj/Projection.js";
import DragPan from "ol/interaction/DragPan.js";
import MouseWheelZoom from "ol/interaction/MouseWheelZoom.js";
import PinchZoom from "ol/interaction/PinchZoom.js";
import { tileUrl } from "./api.js";

const CLOSEST = 1 / 24; // pixels of the image for one of the screen
const MARGIN = 24; // pixels of the screen around what is zoomed to
const ROOM = 1.2; // surroundings shown with an object, as a multiple of its size

export const toMap = ([x, y]) => [x, -y];
export const toImage = ([x, y]) => [x, -y];

export class ImageView {
  /**
   * @param target - element of the map
   * @param pans - whether a pointer event moves the map
   */
  constructor(target, pans) {
    this.map = new OLMap({
      target,
      layers: [new TileLayer()],
      controls: [],
      interactions: [new DragPan({ condition: pans }), new MouseWheelZoom(), new PinchZoom()],
      keyboardEventTarget: document.createElement("div"), // the page has keys of its own
    });
  }

  /** Show an image as a whole. */
  show({ id, width, height, max_zoom: deepest }, tileSize) {
    const extent = [0, -height, width, 0];
    const projection = new Projection({ code: `image-${id}`, units: "pixels", extent });
    const resolutions = Array.from({ length: deepest + 1 }, (_, z) => 2 ** (deepest - z));
    const tileGrid = new TileGrid({ extent, origin: [0, 0], resolutions, tileSize });
    const tileUrlFunction = (place) => tileUrl(id, place);
    const source = new XYZ({ projection, tileGrid, wrapX: false, transition: 0, tileUrlFunction });
    // A layer of its own: the last one's preloading may still run, in the projection of the image before.
    this.map.getLayers().setAt(0, new TileLayer({ extent, source, preload: 1 }));
    this.extent = extent;
    const most = Math.max(width, height) / 100;
    this.map.setView(
      new View({
        projection,
        extent,
        showFullExtent: true,
        constrainOnlyCenter: true,
        enableRotation: false,
        minResolution: CLOSEST,
        maxResolution: Math.max(most, 1),
        resolution: 1,
        center: [width / 2, -height / 2],
      }),
    );
    this.fit();
  }

  get view() {
    return this.map.getView();
  }

  /** Pixels of the image for one of the screen. */
  get resolution() {
    return this.view.getResolution() ?? 1;
  }

  get center() {
    return toImage(this.view.getCenter());
  }

  /** Where a point of the image is on the map's element, or null before it is drawn. */
  pixelOf(point) {
    return this.map.getPixelFromCoordinate(toMap(point));
  }

  /** Show the whole image. */
  fit() {
    if (!this.extent) return;
    this.map.updateSize();
    this.view.fit(this.extent, { padding: [MARGIN, MARGIN, MARGIN, MARGIN] });
  }

  /** Show a box x1, y1, x2, y2 of the image with its surroundings. */
  zoomTo([x1, y1, x2, y2]) {
    const more = ROOM * Math.max(x2 - x1, y2 - y1, 8);
    this.view.fit([x1 - more, -y2 - more, x2 + more, more - y1]);
  }

  /** Zoom in (2) or out (1 / 2) around the middle, or a point of the image. */
  zoomBy(factor, around = this.center) {
    this.view.adjustResolution(1 / factor, toMap(around));
  }

  /** Pan by pixels of the screen. */
  pan(dx, dy) {
    const [x, y] = this.view.getCenter();
    this.view.setCenter([x + dx * this.resolution, y - dy * this.resolution]);
  }

  /** Pan just far enough to show a point. */
  reveal([x, y]) {
    this.revealBox([x, y, x, y]);
  }

  /** Pan just far enough to show a box x1, y1, x2, y2; centre it if it is larger than the view. */
  revealBox([x1, y1, x2, y2]) {
    const [width, height] = this.map.getSize() ?? [0, 0];
    const [low, high] = [this.pixelOf([x1, y1]), this.pixelOf([x2, y2])];
    if (!low || !high) return;
    const over = (from, to, size) => {
      if (to - from > size - 2 * MARGIN) return (from + to - size) / 2;
      return from < MARGIN ? from - MARGIN : to > size - MARGIN ? to - size + MARGIN : 0;
    };
    const [dx, dy] = [over(low[0], high[0], width), over(low[1], high[1], height)];
    if (dx || dy) this.pan(dx, dy);
  }
}
