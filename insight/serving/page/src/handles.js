// The handles of the selected object: those of its box, or in the outline tool those of its outline.

import { corners, rotationPoint } from "./boxes.js";

const STEM = 28; // pixels of the screen from the box to the handle that rotates it
const LEAST_FOR_MOVE = 64; // pixels of the screen: a smaller box has no handle in its middle
const REACH = { mouse: 9, touch: 22 }; // pixels of the screen

/**
 * All handles: { kind, point, ... }, in pixels of the image.
 * @param resolution - pixels of the image for one of the screen
 */
export function handlesOf({ tool, box, rings, resolution }) {
  if (tool === "outline") return rings.flatMap((ring, number) => handlesOfRing(ring, number));
  if (!box || ["brush", "eraser"].includes(tool)) return [];
  const found = corners(box).map((point, index) => ({ kind: "corner", point, index }));
  found.push({ kind: "rotate", point: rotationPoint(box, STEM * resolution), from: rotationPoint(box, 0) });
  if (tool === "select" && Math.min(box.width, box.height) > LEAST_FOR_MOVE * resolution) {
    found.push({ kind: "move", point: [box.cx, box.cy] });
  }
  return found;
}

/** The handle under the pointer, or null. */
export function handleAt(handles, [x, y], resolution, pointerType) {
  let best = null;
  let least = REACH[pointerType] ?? REACH.mouse;
  for (const handle of handles) {
    const distance = Math.hypot(handle.point[0] - x, handle.point[1] - y) / resolution;
    // The middle of a short side lies on its vertices, which come first.
    if (distance < least - (handle.kind === "middle" ? 3 : 0)) [best, least] = [handle, distance];
  }
  return best;
}

function handlesOfRing(ring, number) {
  const vertices = ring.map((point, index) => ({ kind: "vertex", point, ring: number, index }));
  const middles = ring.map(([x, y], index) => {
    const [x2, y2] = ring[(index + 1) % ring.length];
    return { kind: "middle", point: [(x + x2) / 2, (y + y2) / 2], ring: number, index };
  });
  return [...vertices, ...middles];
}
