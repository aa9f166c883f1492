// The header of the page: the image, the progress in the folder, whether all is saved, and the exports.

const SAVING = { saved: "Saved", saving: "Saving…", offline: "Not saved: the server does not answer" };

export function showHeader(page) {
  const { state } = page;
  const [previous, next, done, progress, help] = ["previous", "next", "done", "progress", "help"].map(byId);
  previous.addEventListener("click", () => page.goTo(-1));
  next.addEventListener("click", () => page.goTo(1));
  done.addEventListener("change", () => page.setDone(done.checked));
  help.addEventListener("click", () => page.showHelp());
  showExports(page);

  state.on(["image", "images"], () => {
    const { image, images } = state;
    const at = images.indexOf(image);
    const count = images.filter((one) => one.done).length;
    byId("image-name").textContent = byId("image-name").title = image?.name ?? "";
    byId("image-place").textContent = image ? `${at + 1} of ${images.length}` : "";
    previous.disabled = at <= 0;
    next.disabled = at < 0 || at >= images.length - 1;
    done.disabled = !image;
    done.checked = Boolean(image?.done);
    progress.max = Math.max(1, images.length);
    progress.value = count;
    byId("progress-text").textContent = `${count} of ${images.length} done`;
  });
  state.on(["saving"], () => {
    const status = byId("saving");
    status.textContent = SAVING[state.saving];
    status.dataset.state = state.saving;
    if (state.saving === "offline") page.announce("Not saved yet: the server does not answer. Trying again.", true);
  });
}

function showExports(page) {
  const menu = byId("export");
  menu.addEventListener("click", async (event) => {
    const link = event.target.closest("li a");
    if (!link) return;
    event.preventDefault();
    menu.open = false;
    await page.editor.settled();
    const response = await fetch(link.href);
    if (!response.ok) {
      const { detail } = await response.json().catch(() => ({ detail: `The server answered ${response.status}.` }));
      page.announce(detail, true);
      return;
    }
    const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "objects";
    download(await response.blob(), name);
    page.announce(`Exported ${name}.`);
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.preventDefault();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function byId(id) {
  return document.getElementById(id);
}
