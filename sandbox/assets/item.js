// One listing, with every field and all photos in order.

import { ago, boot, h, pressable } from "./dom.js";
import { avatar, showPage } from "./frame.js";
import { icon } from "./icons.js";
import { formatPrice } from "./price.js";

const { item } = boot;
const badges = { in_review: "This listing is being reviewed.", sold: "Sold" };

function gallery() {
  if (item.photos.length === 0) return h("div", { class: "c-gallery c-no-photo" }, icon("image"));
  const stage = h("img", { src: item.photos[0].src, alt: `Photo 1 of ${item.title}`, class: "c-stage-photo" });
  const thumbs = item.photos.map((photo, index) => {
    const label = `Thumbnail ${index + 1}`;
    const thumb = h("div", { role: "button", tabindex: "0", "aria-label": label, class: "c-thumb" }, h("img", { src: photo.src, alt: "" }));
    return pressable(thumb, () => show(index));
  });
  const show = (index) => {
    stage.src = item.photos[index].src;
    stage.alt = `Photo ${index + 1} of ${item.title}`;
    thumbs.forEach((thumb, other) => thumb.setAttribute("aria-current", String(other === index)));
  };
  show(0);
  const strip = item.photos.length > 1 ? h("div", { class: "c-thumbs", "aria-label": "Photos" }, thumbs) : null;
  return h("div", { class: "c-gallery" }, h("div", { class: "c-stage" }, stage), strip);
}

function detail(name, value) {
  return value ? h("div", { class: "c-detail" }, h("dt", {}, name), h("dd", {}, value)) : null;
}

function tags() {
  if (!item.tags.length) return null;
  return h("ul", { class: "c-chips" }, item.tags.map((tag) => h("li", {}, tag)));
}

showPage(
  h(
    "article",
    { class: "c-item" },
    gallery(),
    h(
      "div",
      { class: "c-item-text" },
      badges[item.status] ? h("p", { class: "c-badge", role: "status" }, badges[item.status]) : null,
      h("h1", {}, item.title),
      h("p", { class: "c-item-price" }, formatPrice(item.price, item.currency)),
      h("p", { class: "c-muted" }, `Listed ${ago(item.posted)} in ${item.location}`),
      item.own
        ? h("a", { href: "/marketplace/you/selling", class: "c-button c-button-soft c-wide" }, icon("list"), "Go to Your listings")
        : null,
      h("h2", {}, "Details"),
      h(
        "dl",
        { class: "c-details" },
        detail("Condition", item.condition),
        detail("Category", item.category),
        Object.entries(item.attributes).map(([name, value]) => detail(name, value)),
        detail("Availability", item.availability),
        detail("Meet-up", item.meetup.join(" · ")),
        item.sku ? detail("SKU", h("span", {}, item.sku, h("small", {}, icon("lock"), "Only visible to you"))) : null,
        item.own ? detail("Listed on", ["Marketplace", ...item.groups].join(" · ")) : null,
      ),
      item.description ? [h("h2", {}, "Description"), h("p", { class: "c-description" }, item.description)] : null,
      tags(),
      h("h2", {}, "Location"),
      h("p", { class: "c-place" }, icon("pin"), h("span", {}, item.location, h("small", {}, "Location is approximate"))),
      h("h2", {}, "Seller information"),
      h("p", { class: "c-seller" }, avatar(item.seller), h("b", {}, item.seller)),
    ),
  ),
  { side: false, wide: true },
);
