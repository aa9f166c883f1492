// Boxes at any angle: { cx, cy, width, height, angle }, in pixels of the image; the angle is in radians, clockwise
// on the screen, of the side that has the width.

const QUARTER = Math.PI / 2;

/** The box between two opposite corners. */
export function boxBetween([x1, y1], [x2, y2]) {
  return { cx: (x1 + x2) / 2, cy: (y1 + y2) / 2, width: Math.abs(x2 - x1), height: Math.abs(y2 - y1), angle: 0 };
}

/** The box with the side from a to b that reaches as far as p. */
export function boxOnSide(a, b, p) {
  const length = Math.hypot(b[0] - a[0], b[1] - a[1]);
  const angle = Math.atan2(b[1] - a[1], b[0] - a[0]);
  const [nx, ny] = [-Math.sin(angle), Math.cos(angle)];
  const reach = (p[0] - a[0]) * nx + (p[1] - a[1]) * ny;
  return {
    cx: (a[0] + b[0] + reach * nx) / 2,
    cy: (a[1] + b[1] + reach * ny) / 2,
    width: length,
    height: Math.abs(reach),
    angle,
  };
}

/** The corners, clockwise on the screen. */
export function corners({ cx, cy, width, height, angle }) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([i, j]) => {
    const [dx, dy] = [(i * width) / 2, (j * height) / 2];
    return [cx + c * dx - s * dy, cy + s * dx + c * dy];
  });
}

/** The box of an object, or null. */
export function boxOf(object) {
  if (object?.box) {
    const [x1, y1, x2, y2] = object.box;
    return boxBetween([x1, y1], [x2, y2]);
  }
  if (!object?.oriented_box) return null;
  const [a, b, c, d] = object.oriented_box;
  return {
    cx: (a[0] + b[0] + c[0] + d[0]) / 4,
    cy: (a[1] + b[1] + c[1] + d[1]) / 4,
    width: Math.hypot(b[0] - a[0], b[1] - a[1]),
    height: Math.hypot(d[0] - a[0], d[1] - a[1]),
    angle: Math.atan2(b[1] - a[1], b[0] - a[0]),
  };
}

/** The fields of an object that hold a box: `box` if it is horizontal, else `oriented_box`. */
export function boxFields(box) {
  const quarters = Math.round(box.angle / QUARTER);
  const found = corners(box).map((point) => point.map(rounded));
  if (Math.abs(box.angle - quarters * QUARTER) > 1e-4) return { box: null, oriented_box: found };
  const [xs, ys] = [found.map((p) => p[0]), found.map((p) => p[1])];
  return { box: [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)], oriented_box: null };
}

/** The box with one corner dragged to a point; the opposite corner and the angle stay. */
export function withCorner(box, index, point) {
  const opposite = corners(box)[(index + 2) % 4];
  const [c, s] = [Math.cos(box.angle), Math.sin(box.angle)];
  const [dx, dy] = [point[0] - opposite[0], point[1] - opposite[1]];
  return {
    ...box,
    cx: (point[0] + opposite[0]) / 2,
    cy: (point[1] + opposite[1]) / 2,
    width: Math.abs(c * dx + s * dy),
    height: Math.abs(-s * dx + c * dy),
  };
}

/** The point beyond the middle of the upper side from which a box is rotated. */
export function rotationPoint({ cx, cy, height, angle }, distance) {
  const reach = height / 2 + distance;
  return [cx + Math.sin(angle) * reach, cy - Math.cos(angle) * reach];
}

/** The angle at which the rotation point lies in the direction of a point. */
export function angleTowards({ cx, cy }, point) {
  return Math.atan2(point[1] - cy, point[0] - cx) + QUARTER;
}

export const degrees = (radians) => (radians * 180) / Math.PI;
export const radians = (angle) => (angle * Math.PI) / 180;

/** To a hundredth of a pixel. */
export function rounded(value) {
  return Math.round(value * 100) / 100;
}
