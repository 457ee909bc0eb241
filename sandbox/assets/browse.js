// Everything for sale, newest first.

import { h } from "./dom.js";
import { fetchBatch, onEnd, showPage } from "./frame.js";
import { icon } from "./icons.js";
import { formatPrice } from "./price.js";

const query = new URLSearchParams(location.search).get("q") ?? "";
const grid = h("div", { class: "c-grid" });
const end = h("div", { class: "c-list-end" });
let offset = 0;

function card(item) {
  const picture = item.photos[0]
    ? h("img", { src: item.photos[0].src, alt: item.title, loading: "lazy" })
    : h("span", { class: "c-no-photo" }, icon("image"));
  return h(
    "a",
    { href: item.path, class: "c-tile" },
    h("span", { class: "c-tile-picture" }, picture),
    h("b", {}, formatPrice(item.price, item.currency)),
    h("span", { class: "c-tile-title" }, item.title),
    h("small", {}, item.location),
  );
}

async function more() {
  const batch = await fetchBatch("/api/browse", query, offset);
  grid.append(...batch.items.map(card));
  offset = batch.next ?? offset;
  if (batch.total === 0) {
    end.replaceChildren(
      h(
        "div",
        { class: "c-empty" },
        icon("bag"),
        h("h2", {}, query ? `Nothing found for “${query}”` : "Nothing listed yet"),
        h("p", {}, "Be the first: it takes a photo, a title and a price."),
        h("a", { href: "/marketplace/create/", class: "c-button c-button-main" }, "Create new listing"),
      ),
    );
  }
  return batch.next !== null;
}

showPage([h("h1", {}, query ? `Results for “${query}”` : "Today’s picks"), grid, end]);
onEnd(end, more);
