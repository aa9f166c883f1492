// Words of the page that depend on a number.

/** A number with its noun: "1 object", "2 objects". */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
