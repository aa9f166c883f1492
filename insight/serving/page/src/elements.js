// Elements of the page, written concisely.

/** An element with properties, attributes (those with a dash, and `role`) and children. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, String(value));
    else made[key] = value;
  }
  made.append(...children);
  return made;
}
