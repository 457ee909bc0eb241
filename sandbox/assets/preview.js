// The live preview beside the composer.

import { boot, h, iconButton } from "./dom.js";
import { avatar } from "./frame.js";
import { icon } from "./icons.js";
import { formatPrice } from "./price.js";

/** The preview of `form()` with `photos()`. */
export function preview({ form, photos, currency }) {
  let shown = 0;
  const picture = h("img", { alt: "", class: "c-stage-photo" });
  const step = (by) => {
    const count = photos().length;
    shown = (shown + by + count) % count;
    render();
  };
  const controls = h("div", { class: "c-stage-controls" }, iconButton("Previous", "back", () => step(-1)), iconButton("Next", "forward", () => step(1)));
  const none = h("div", { class: "c-preview-none" }, icon("image"), h("b", {}, "Your listing preview"), h("p", {}, "As you create your listing, you can preview how it will appear to others on Marketplace."));
  const stage = h("div", { class: "c-stage", "aria-label": "Image" }, picture, controls, none);
  const text = h("div", { class: "c-preview-text" });
  const element = h(
    "section",
    { class: "c-preview", "aria-label": "Preview" },
    h("h2", {}, "Preview"),
    h("div", { class: "c-preview-card" }, stage, text),
  );

  const render = () => {
    const { title, price, condition, description, location, category, tags } = form();
    const all = photos();
    shown = Math.min(shown, Math.max(0, all.length - 1));
    picture.hidden = all.length === 0;
    none.hidden = all.length > 0;
    controls.hidden = all.length < 2;
    if (all.length && picture.getAttribute("src") !== all[shown].src) picture.src = all[shown].src;
    const faint = (value, instead) => (value ? h("span", {}, value) : h("span", { class: "c-faint" }, instead));
    text.replaceChildren(
      h("h3", {}, faint(title, "Title")),
      h("p", { class: "c-item-price" }, faint(formatPrice(price, currency), "Price")),
      h("p", { class: "c-muted" }, "Listed a few seconds ago", location ? ` in ${location}` : ""),
      h("h4", {}, "Details"),
      h("dl", { class: "c-details" }, condition ? [h("dt", {}, "Condition"), h("dd", {}, condition)] : null, category ? [h("dt", {}, "Category"), h("dd", {}, category)] : null),
      h("p", { class: "c-description" }, faint(description, "Description will appear here.")),
      tags.length ? h("ul", { class: "c-chips" }, tags.map((tag) => h("li", {}, tag))) : "",
      h("h4", {}, "Seller information"),
      h("p", { class: "c-seller" }, avatar(boot.account.name), h("b", {}, boot.account.name)),
    );
  };
  return { element, render };
}
