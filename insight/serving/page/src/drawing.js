// Draws objects, handles and what is being drawn.

import Feature from "ol/Feature.js";
import LineString from "ol/geom/LineString.js";
import MultiPolygon from "ol/geom/MultiPolygon.js";
import Point from "ol/geom/Point.js";
import Polygon from "ol/geom/Polygon.js";
import VectorLayer from "ol/layer/Vector.js";
import VectorSource from "ol/source/Vector.js";
import { Circle, Fill, RegularShape, Stroke, Style } from "ol/style.js";
import { boxOf, corners } from "./boxes.js";
import { colourOf, faded } from "./colours.js";
import { handlesOf } from "./handles.js";
import { parts } from "./outlines.js";
import { extent } from "./state.js";
import { toMap } from "./view.js";

const CASING = "#000000b0"; // beside bright lines, so that they are seen on bright ground
const ring = (points) => [...points, points[0]].map(toMap);

export class Drawing {
  #objects = new VectorSource();
  #selected = new VectorSource();
  #draft = new VectorSource();

  constructor(imageView, state) {
    Object.assign(this, { imageView, state });
    for (const source of [this.#objects, this.#selected, this.#draft]) {
      imageView.map.addLayer(new VectorLayer({ source, updateWhileInteracting: true, updateWhileAnimating: true }));
    }
    state.on(["objects", "selected", "project", "className"], () => this.#drawObjects());
    state.on(["objects", "selected", "project", "tool", "vertex", "waiting"], () => this.drawSelected());
  }

  /** Draw again what keeps its size on the screen. */
  zoomed() {
    this.drawSelected();
  }

  /** Show a box or an outline as it is being changed, in place of the selected object's. */
  drawSelected(changed = {}) {
    const { current, tool, waiting, vertex } = this.state;
    this.#selected.clear();
    if (!current) return;
    const { box = boxOf(current), rings = current.polygons } = changed;
    const colour = colourOf(current.class, this.state.classes);
    const features = [];
    if (rings.length) features.push(styled(outline(rings), lines(colour, 3, faded(colour, 0.12))));
    if (box) {
      const dash = waiting.has(current.id) ? [2, 5] : undefined;
      features.push(styled(new Polygon([ring(corners(box))]), lines("#ffffff", 1.5, null, dash)));
    }
    current.points.forEach((point, i) => features.push(styled(new Point(toMap(point)), pointStyle(current.labels[i]))));
    for (const handle of handlesOf({ tool, box, rings, resolution: this.imageView.resolution })) {
      const isChosen = vertex && handle.ring === vertex.ring && handle.index === vertex.index && handle.kind === "vertex";
      if (handle.from) features.push(styled(new LineString([handle.from, handle.point].map(toMap)), lines("#ffffff", 1.5)));
      features.push(styled(new Point(toMap(handle.point)), handleStyle(handle.kind, isChosen)));
    }
    this.#selected.addFeatures(features);
  }

  /** Show the other version of an object that was changed elsewhere; null to remove it. */
  showOther(object) {
    this.#draft.clear();
    if (!object) return;
    const box = boxOf(object);
    const rings = object.polygons.length || !box ? object.polygons : [corners(box)];
    this.#draft.addFeature(styled(outline(rings), lines("#ffffff", 3, null, [4, 6])));
    this.imageView.zoomTo(extent(object));
  }

  /** Show what is being drawn: { box, line, radius }; nothing to remove it. */
  drawDraft({ box, line, radius, adds = true } = {}) {
    this.#draft.clear();
    if (box) this.#draft.addFeature(styled(new Polygon([ring(corners(box))]), lines("#ffffff", 2, "#ffffff20")));
    if (!line) return;
    const points = line.length > 1 ? line : [line[0], line[0]];
    const width = radius ? (2 * radius) / this.imageView.resolution : 2;
    const color = radius ? (adds ? "#7ae582a0" : "#ff6b6ba0") : "#ffffff";
    const stroke = new Stroke({ color, width, lineCap: "round", lineJoin: "round" });
    this.#draft.addFeature(styled(new LineString(points.map(toMap)), new Style({ stroke })));
  }

  #drawObjects() {
    const { objects, selected, classes } = this.state;
    this.#objects.clear();
    const features = [];
    for (const object of objects.values()) {
      if (object.id === selected) continue;
      const colour = colourOf(object.class, classes);
      const dash = object.state === "candidate" ? [6, 5] : undefined;
      const box = boxOf(object);
      if (object.polygons.length) features.push(styled(outline(object.polygons), lines(colour, 2, faded(colour, 0.25), dash)));
      else if (box) features.push(styled(new Polygon([ring(corners(box))]), lines(colour, 2, null, dash)));
      else object.points.forEach((p, i) => features.push(styled(new Point(toMap(p)), pointStyle(object.labels[i]))));
    }
    this.#objects.addFeatures(features);
  }
}

function styled(geometry, style) {
  const feature = new Feature(geometry);
  feature.setStyle(style);
  return feature;
}

function outline(rings) {
  return new MultiPolygon(parts(rings).map((part) => part.map(ring)));
}

function lines(colour, width, fill = null, lineDash = undefined) {
  return [
    new Style({
      stroke: new Stroke({ color: CASING, width: width + 2 }),
      fill: fill ? new Fill({ color: fill }) : undefined,
    }),
    new Style({ stroke: new Stroke({ color: colour, width, lineDash }) }),
  ];
}

function pointStyle(isOn) {
  const [fill, lines] = isOn ? ["#128a3e", [0, Math.PI / 2]] : ["#c62828", [Math.PI / 2]];
  const sign = lines.map(
    (angle) =>
      new Style({
        image: new RegularShape({ points: 2, radius: 5, angle, stroke: new Stroke({ color: "#ffffff", width: 2.5 }) }),
      }),
  );
  const disc = new Circle({ radius: 8, fill: new Fill({ color: fill }), stroke: new Stroke({ color: "#ffffff", width: 2 }) });
  return [new Style({ image: disc }), ...sign];
}

function handleStyle(kind, isChosen) {
  const stroke = new Stroke({ color: "#000000", width: 1.5 });
  const fill = new Fill({ color: isChosen ? "#ff9f45" : kind === "middle" ? "#ffffff90" : "#ffffff" });
  if (kind === "corner") return new Style({ image: new RegularShape({ points: 4, radius: 8, angle: Math.PI / 4, fill, stroke }) });
  return new Style({ image: new Circle({ radius: { rotate: 7, move: 6, vertex: 5, middle: 3.5 }[kind], fill, stroke }) });
}
