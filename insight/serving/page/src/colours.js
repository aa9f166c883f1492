// A colour for each class, bright enough to be seen on any image; by their order.

const COLOURS = ["#ffd23f", "#3ddcff", "#ff6b6b", "#7ae582", "#d58cff", "#ff9f45", "#7aa2ff", "#f7a1d0", "#c8e64a"];

export function colourOf(className, classes) {
  return COLOURS[Math.max(0, classes.indexOf(className)) % COLOURS.length];
}

/** The same colour, translucent. */
export function faded(colour, opacity) {
  return colour + Math.round(opacity * 255).toString(16).padStart(2, "0");
}
