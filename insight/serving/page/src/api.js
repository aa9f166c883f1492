// The server's API.

/** A reply other than success; `status` is 0 where the server cannot be reached. */
export class Refused extends Error {
  constructor(status, detail, current = null) {
    super(detail);
    this.status = status;
    this.current = current;
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    return this.status === 0 || this.status === 503 || this.status === 408;
  }
}

async function ask(method, path, { body, revision, signal } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (revision !== undefined) headers["If-Match"] = String(revision);
  let reply;
  try {
    reply = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server cannot be reached.");
  }
  if (reply.status === 204) return null;
  let content = null;
  try {
    content = await reply.json();
  } catch {
    // a proxy's page, or a connection that broke off
  }
  if (!reply.ok) throw new Refused(reply.status, content?.detail ?? `The server answered ${reply.status}.`, content?.current);
  if (content === null) throw new Refused(0, "The server's answer broke off.");
  return content;
}

const of = (image) => `/api/images/${encodeURIComponent(image)}`;
const PAGE = 1000;

export const project = () => ask("GET", "/api/project");
export const models = () => ask("GET", "/v1/models");
export const setClasses = (classes) => ask("PUT", "/api/classes", { body: { classes } });
export const setDone = (image, done) => ask("PUT", of(image), { body: { done } });
export const objects = (image) => ask("GET", `${of(image)}/objects`);
export const add = (image, id, content) => ask("POST", `${of(image)}/objects`, { body: { id, ...content } });
export const change = (image, id, revision, content) =>
  ask("PUT", `${of(image)}/objects/${id}`, { revision, body: content });
export const remove = (image, id, revision) => ask("DELETE", `${of(image)}/objects/${id}`, { revision });
export const segment = (image, prompt, signal) => ask("POST", `${of(image)}/segment`, { body: prompt, signal });
export const detect = (image, request) => ask("POST", `${of(image)}/detect`, { body: request });

export const tileUrl = (image, [z, x, y]) => `${of(image)}/tiles/${z}/${x}/${y}.jpg`;

/** All images of the folder. */
export async function images() {
  const found = [];
  for (;;) {
    const page = await ask("GET", `/api/images?offset=${found.length}&limit=${PAGE}`);
    found.push(...page);
    if (page.length < PAGE) return found;
  }
}
