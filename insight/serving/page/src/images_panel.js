// The folder as a queue.

import { element } from "./elements.js";

export function showImages(page) {
  const { state } = page;
  const list = document.getElementById("images");
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) page.open(state.images[Number(button.dataset.index)]);
  });
  state.on(["images"], () => {
    list.replaceChildren(
      ...state.images.map((image, index) =>
        element(
          "li",
          {},
          element(
            "button",
            { type: "button", "data-index": index, disabled: Boolean(image.error) },
            element("span", { className: "name", title: image.name }, image.name),
            element("span", { className: "about" }),
          ),
        ),
      ),
    );
    mark();
  });
  state.on(["image"], mark);

  function mark() {
    for (const button of list.querySelectorAll("button")) {
      const image = state.images[Number(button.dataset.index)];
      const isCurrent = image === state.image;
      button.setAttribute("aria-current", String(isCurrent));
      button.querySelector(".about").textContent = about(image);
      if (isCurrent) button.scrollIntoView({ block: "nearest" });
    }
  }
}

function about(image) {
  if (image.error) return "cannot be read";
  return image.done ? `done · ${image.objects}` : String(image.objects);
}
