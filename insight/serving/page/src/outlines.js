// Outlines of objects: rings of corners in pixels of the image, filled by the even-odd rule. As in the server, a ring
// runs clockwise on the screen around a part and counter-clockwise around its holes, which follow it.

import clipper from "clipper-lib";

const { Clipper, ClipperOffset, ClipType, EndType, JoinType, Paths, PolyFillType, PolyTree, PolyType } = clipper;
const SCALE = 256; // clipper computes in integers
const LEAST_AREA = 0.5; // pixels: smaller parts and holes are dropped

/** The same area in rings that do not cross, in the server's order. */
export function tidy(rings) {
  return combine(rings, [], ClipType.ctUnion);
}

/**
 * The area with a brush stroke added or removed.
 * @param rings - of the object
 * @param path - points of the stroke
 * @param radius - of the brush, pixels
 * @param adds - whether it adds
 */
export function brushed(rings, path, radius, adds) {
  const offset = new ClipperOffset(2, 0.05 * SCALE);
  offset.AddPath(toPath(path), JoinType.jtRound, EndType.etOpenRound);
  const stroke = new Paths();
  offset.Execute(stroke, radius * SCALE);
  return combine(rings, stroke, adds ? ClipType.ctUnion : ClipType.ctDifference);
}

/** Intersection over union of two objects. */
export function overlap(a, b) {
  const common = area(combine(a, b.map(toPath), ClipType.ctIntersection));
  return common / (Math.abs(area(a)) + Math.abs(area(b)) - common || 1);
}

/** The area of rings, without their holes, in square pixels. */
export function area(rings) {
  return rings.reduce((sum, ring) => sum + signedArea(ring), 0);
}

/** The parts of an object, each a ring and those of its holes. */
export function parts(rings) {
  const found = [];
  for (const ring of rings) {
    if (signedArea(ring) < 0 && found.length) found.at(-1).push(ring);
    else found.push([ring]);
  }
  return found;
}

/** Whether a point is inside, by the even-odd rule. */
export function contains(rings, [x, y]) {
  let inside = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [[xi, yi], [xj, yj]] = [ring[i], ring[j]];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
    }
  }
  return inside;
}

/** The box x1, y1, x2, y2 around rings or points. */
export function bounds(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

/** The area by the shoelace formula: positive if the ring runs clockwise on the screen. */
function signedArea(ring) {
  let sum = 0;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
    sum += ring[j][0] * ring[i][1] - ring[i][0] * ring[j][1];
  }
  return sum / 2;
}

function combine(rings, stroke, how) {
  const machine = new Clipper();
  machine.StrictlySimple = true;
  machine.AddPaths(rings.map(toPath), PolyType.ptSubject, true);
  if (stroke.length) machine.AddPaths(stroke, PolyType.ptClip, true);
  const tree = new PolyTree();
  machine.Execute(how, tree, PolyFillType.pftEvenOdd, PolyFillType.pftNonZero);
  const found = [];
  collect(tree, found);
  return found;
}

/** The rings of a tree of parts, their holes, the parts in these, and so on. */
function collect(node, found) {
  for (const part of node.Childs()) {
    add(part, found, 1);
    for (const hole of part.Childs()) add(hole, found, -1);
    for (const hole of part.Childs()) collect(hole, found);
  }
}

function add(node, found, sign) {
  const ring = node.Contour().map(({ X, Y }) => [round(X), round(Y)]);
  const size = signedArea(ring);
  if (Math.abs(size) >= LEAST_AREA) found.push(size * sign > 0 ? ring : ring.reverse());
}

const toPath = (ring) => ring.map(([x, y]) => ({ X: Math.round(x * SCALE), Y: Math.round(y * SCALE) }));
const round = (value) => Math.round((value / SCALE) * 100) / 100;
