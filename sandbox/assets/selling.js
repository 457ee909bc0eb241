// Your listings: drafts, what needs attention, and all listings in batches.

import { boot, button, dayAndMonth, h, iconButton, makeId, openDialog, request, toast } from "./dom.js";
import { fetchBatch, onEnd, showPage } from "./frame.js";
import { icon } from "./icons.js";
import { formatPrice } from "./price.js";

const { variant, drafts } = boot;
const STANDING = { active: "Active", sold: "Sold", in_review: "In review" };

const attention = h("div", { class: "c-cards" });
const all = h("div", { class: "c-cards" });
const end = h("div", { class: "c-list-end" });
const attentionSection = h("section", { "aria-label": "Needs attention", hidden: true }, h("h2", {}, "Needs attention"), attention);
let offset = 0;
let stop = () => {};

function whereListed(item) {
  const groups = item.groups.length;
  return groups ? `Listed on Marketplace and ${groups === 1 ? "1 group" : `${groups} groups`}` : "Listed on Marketplace";
}

function title(item) {
  if (variant.card_links) return h("a", { href: item.path, class: "c-card-title" }, item.title);
  return button(item.title, () => showDetails(item), { kind: "c-card-title", content: [item.title] });
}

function showDetails(item) {
  const address = new URL(item.path, location.origin).href;
  openDialog("Your Listing", [h("p", {}, h("b", {}, item.title)), h("a", { href: item.path }, address)], (close) => [
    button("Close", close),
  ]);
}

function openMenu(item, anchor) {
  document.querySelector("[role=menu]")?.remove();
  const entry = (label, act) => {
    const element = h("div", { role: "menuitem", tabindex: "0" }, label);
    element.addEventListener("click", () => {
      menu.remove();
      act();
    });
    return element;
  };
  const menu = h(
    "div",
    { role: "menu", class: "c-menu", id: makeId() },
    entry("View listing", () => location.assign(item.path)),
    entry("Delete listing", () => confirmDelete(item)),
  );
  anchor.parentElement.append(menu);
}

function confirmDelete(item) {
  openDialog("Delete listing", h("p", {}, `“${item.title}” will be removed from Marketplace. You can't undo this.`), (close) => [
    button("Cancel", close),
    button("Delete", async () => {
      close();
      await request("POST", `/api/items/${item.id}/delete`);
      toast("Listing deleted");
      reload();
    }, { kind: "c-button-danger" }),
  ]);
}

function card(item) {
  const picture = item.photos[0]
    ? h("img", { src: item.photos[0].src, alt: "" })
    : h("span", { class: "c-no-photo" }, icon("image"));
  const review = item.status === "in_review";
  const more = iconButton(`More options for ${item.title}`, "dots", () => openMenu(item, more), "c-button-plain");
  const sell = async () => {
    await request("POST", `/api/items/${item.id}/sold`);
    toast("Marked as sold");
    reload();
  };
  return h(
    "article",
    { class: "c-card", "aria-label": item.title },
    h("div", { class: "c-card-picture" }, picture),
    h(
      "div",
      { class: "c-card-text" },
      title(item),
      h("b", { class: "c-card-price" }, formatPrice(item.price, item.currency)),
      h(
        "p",
        {},
        h("span", { class: item.status === "active" ? "c-dot c-dot-on" : "c-dot" }),
        `${STANDING[item.status]} · Listed on ${dayAndMonth(item.posted)}`,
      ),
      h("p", { class: "c-muted" }, `${whereListed(item)} · 0 clicks on listing`),
      review ? h("p", { class: "c-badge" }, "This listing is being reviewed.") : null,
      h(
        "div",
        { class: "c-card-actions" },
        item.status === "active" ? button("Mark as sold", sell, { kind: "c-button-soft" }) : null,
        h("div", { class: "c-menu-box" }, more),
      ),
    ),
  );
}

function draftCard(draft) {
  const form = draft.form;
  const photo = form.photos?.[0];
  const remove = button("Delete draft", async () => {
    await request("DELETE", `/api/drafts/${draft.id}`);
    element.remove();
    toast("Draft deleted");
  });
  const element = h(
    "article",
    { class: "c-card" },
    h("div", { class: "c-card-picture" }, photo ? h("img", { src: `/media/${photo.sha256}`, alt: "" }) : h("span", { class: "c-no-photo" }, icon("image"))),
    h(
      "div",
      { class: "c-card-text" },
      h("b", { class: "c-card-title" }, form.title || "Untitled draft"),
      h("p", {}, h("span", { class: "c-dot" }), `Draft · Saved on ${dayAndMonth(draft.saved / 1000)}`),
      h("div", { class: "c-card-actions" }, h("a", { href: `/marketplace/create/item?draft=${draft.id}`, class: "c-button c-button-soft" }, "Continue"), remove),
    ),
  );
  return element;
}

async function more() {
  const batch = await fetchBatch("/api/selling", search.value.trim(), offset);
  for (const item of batch.items) {
    (item.status === "in_review" ? attention : all).append(card(item));
  }
  attentionSection.hidden = attention.childElementCount === 0;
  offset = batch.next ?? offset;
  if (batch.total === 0) {
    const text = search.value.trim() ? "No listing has these words in its title." : "When you list something for sale, it appears here.";
    end.replaceChildren(h("div", { class: "c-empty" }, icon("tag"), h("h2", {}, "No listings"), h("p", {}, text)));
  }
  return batch.next !== null;
}

function reload() {
  stop();
  offset = 0;
  attention.replaceChildren();
  all.replaceChildren();
  end.replaceChildren();
  stop = onEnd(end, more);
}

const search = h("input", { type: "text", placeholder: "Search your listings", "aria-label": "Search your listings" });
let typing;
search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(reload, 200);
});
document.addEventListener("pointerdown", (event) => {
  const menu = document.querySelector("[role=menu]");
  if (menu && !menu.parentElement.contains(event.target)) menu.remove();
});

showPage([
  h(
    "div",
    { class: "c-head" },
    h("h1", {}, "Your listings"),
    h("a", { href: "/marketplace/create/", class: "c-button c-button-main" }, icon("plus"), "Create new listing"),
  ),
  h("label", { class: "c-search c-search-page" }, icon("search"), search),
  drafts.length ? h("section", { "aria-label": "Drafts" }, h("h2", {}, "Drafts"), h("div", { class: "c-cards" }, drafts.map(draftCard))) : null,
  attentionSection,
  h("section", { "aria-label": "All listings" }, h("h2", {}, "All listings"), all, end),
]);
reload();
