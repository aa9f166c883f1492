// Vertices of the selected object's outline.

/** The rings with a vertex moved; a new one, if the handle is the middle of a side. */
export function withVertex(rings, { kind, ring, index }, point) {
  return rings.map((corners, number) => {
    if (number !== ring) return corners;
    const place = kind === "middle" ? index + 1 : index;
    return corners.toSpliced(place, kind === "middle" ? 0 : 1, point);
  });
}

/** The rings without a vertex, and without a ring of fewer than three. */
export function withoutVertex(rings, { ring, index }) {
  return rings
    .map((corners, number) => (number === ring ? corners.toSpliced(index, 1) : corners))
    .filter((corners) => corners.length >= 3);
}

/** The next vertex (step 1) or the one before (-1), over all rings. */
export function nextVertex(rings, vertex, step) {
  const all = rings.flatMap((corners, ring) => corners.map((_, index) => ({ ring, index })));
  if (!all.length) return null;
  const at = vertex ? all.findIndex(({ ring, index }) => ring === vertex.ring && index === vertex.index) : -1;
  if (at < 0) return all[step > 0 ? 0 : all.length - 1];
  return all[(at + step + all.length) % all.length];
}

/** The vertex nearest to a point: outlines are put in order after a change, and numbers change with it. */
export function nearestVertex(rings, [x, y]) {
  let best = null;
  let least = Infinity;
  rings.forEach((corners, ring) =>
    corners.forEach(([vx, vy], index) => {
      const distance = Math.hypot(vx - x, vy - y);
      if (distance < least) [best, least] = [{ ring, index }, distance];
    }),
  );
  return best;
}
