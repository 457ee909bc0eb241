// The composer: step 1, the form; step 2, the audience; Publish.

import { audience } from "./audience.js";
import { categoryField, checkbox, listbox, locationField, switchField, tagsField, textField } from "./controls.js";
import { boot, button, h, openDialog, pressable, request, toast } from "./dom.js";
import { avatar, showPage } from "./frame.js";
import { icon } from "./icons.js";
import { preview } from "./preview.js";
import { formatPrice, parsePrice } from "./price.js";
import { photoField } from "./uploads.js";

const { account, variant, limits, groups } = boot;
const AVAILABILITY = ["List as single item", "List as in stock"];

const form = {
  title: "",
  category: "",
  condition: "",
  description: "",
  availability: AVAILABILITY[0],
  tags: [],
  sku: "",
  location: variant.location_prefilled ? account.home : "",
  meetup: [],
  groups: groups.slice(0, variant.groups_ticked).map((group) => group.name),
  promote: variant.promote_default,
  hide_from_friends: false,
  attributes: {},
  ...boot.draft?.form.fields,
};
let draft = boot.draft?.id ?? null;
// What stands in the price field; the price itself is worked out from it.
let priceText = boot.draft?.form.priceText ?? "";
const price = () => parsePrice(priceText, variant.currency);

/** The form as the preview and Publish want it. */
const filled = () => ({ ...form, price: price() ?? "" });

const parts = [];
const keep = (part) => {
  parts.push(part);
  return part.element;
};

function update(changes) {
  if (changes.category !== undefined && changes.category !== form.category) {
    changes = { ...changes, attributes: {}, ...(boot.rerender ? { title: "" } : {}) };
    Object.assign(form, changes);
    showAttributes();
  } else {
    Object.assign(form, changes);
  }
  render();
}

function render() {
  for (const part of parts) part.render();
  attributeParts.forEach((part) => part.render());
  next.setDisabled(!complete());
}

function complete() {
  return (
    photos.ready() && form.title.trim() !== "" && price() !== null && form.category !== "" && form.condition !== "" && form.location !== ""
  );
}

const bound = (name) => ({ read: () => form[name], write: (value) => update({ [name]: value }) });

const photos = photoField({ limit: limits.photos, start: boot.draft?.form.photos ?? [], changed: () => render() });
const attributes = h("div", { class: "c-stack" });
let attributeParts = [];

function showAttributes() {
  const leaf = boot.categories.flatMap((group) => group.leaves).find((known) => known.name === form.category);
  attributeParts = (leaf?.attributes ?? []).map((name) =>
    textField({
      label: name,
      hint: "Optional",
      named: variant.aria_labels,
      read: () => form.attributes[name] ?? "",
      write: (value) => update({ attributes: { ...form.attributes, [name]: value } }),
    }),
  );
  attributes.replaceChildren(...attributeParts.map((part) => part.element));
}

function requiredPart() {
  return h(
    "section",
    { class: "c-stack", "aria-label": "Required" },
    h("div", {}, h("h2", {}, "Required"), h("p", { class: "c-hint" }, "Be as descriptive as possible.")),
    keep(textField({
      label: "Title",
      named: variant.aria_labels,
      limit: limits.title,
      ...bound("title"),
      problem: () => (form.title.trim() ? null : "Please enter a valid title."),
    })),
    keep(textField({
      label: "Price",
      named: variant.aria_labels,
      read: () => priceText,
      write: (text) => {
        priceText = text;
        render();
      },
      leave: () => {
        if (price() !== null) priceText = formatPrice(price(), variant.currency);
        render();
      },
      problem: () => (price() === null ? "Enter a price for your item." : null),
    })),
    keep(categoryField({ label: "Category", groups: boot.categories, ...bound("category") })),
    keep(listbox({ label: "Condition", options: boot.conditions, ...bound("condition") })),
    attributes,
  );
}

function detailsPart() {
  const body = h(
    "div",
    { class: "c-stack", hidden: !variant.more_details_open },
    keep(textField({ label: "Description", lines: 5, named: variant.aria_labels, ...bound("description"), hint: "Optional" })),
    keep(listbox({ label: "Availability", options: AVAILABILITY, ...bound("availability") })),
    keep(tagsField({ ...bound("tags"), most: 20 })),
    keep(textField({ label: "SKU", named: variant.aria_labels, ...bound("sku"), hint: "Optional. Only visible to you." })),
  );
  const opener = h(
    "div",
    { role: "button", tabindex: "0", "aria-expanded": String(variant.more_details_open), class: "c-opener" },
    h("span", {}, h("b", {}, "More details"), h("small", {}, "Attract more interest by including more details.")),
    icon("down"),
  );
  pressable(opener, () => {
    body.hidden = !body.hidden;
    opener.setAttribute("aria-expanded", String(!body.hidden));
  });
  return h("section", { class: "c-stack" }, opener, body);
}

function placePart() {
  const meetup = (label) =>
    keep(checkbox({
      label,
      read: () => form.meetup.includes(label),
      write: (yes) => update({ meetup: boot.meetups.filter((other) => (other === label ? yes : form.meetup.includes(other))) }),
    }));
  return [
    h("section", { class: "c-stack" }, keep(locationField(bound("location")))),
    h(
      "section",
      { class: "c-stack", "aria-label": "Meet-up preferences" },
      h("div", {}, h("h2", {}, "Meet-up preferences"), h("p", { class: "c-hint" }, "Buyers will be able to see your preferences on your listing.")),
      h("div", { class: "c-checks" }, boot.meetups.map(meetup)),
    ),
    h(
      "section",
      { class: "c-stack" },
      keep(switchField({ label: "Promote listing after publish", text: "Reach more people with a paid promotion.", ...bound("promote") })),
      keep(switchField({ label: "Hide from friends", text: "Friends on Marketsquare won't see this listing in most cases.", ...bound("hide_from_friends") })),
      h("p", { class: "c-hint" }, "Marketplace items are public and can be seen by anyone on this practice site. Items such as animals, drugs, weapons and counterfeits aren't allowed."),
    ),
  ];
}

const second = audience({ groups, form: () => form, update });
parts.push(second);
const show = preview({ form: filled, photos: () => photos.all(), currency: variant.currency });
parts.push(show);

const first = h(
  "div",
  { class: "c-step" },
  h("p", { class: "c-profile-line" }, avatar(account.name), h("span", {}, h("b", {}, account.name), h("small", {}, icon("globe"), "Listing to Marketplace · Public"))),
  photos.element,
  requiredPart(),
  detailsPart(),
  placePart(),
);

const next = button("Next", () => goTo("audience"), { kind: "c-button-main c-wide", disabled: true });
const previous = button("Previous", () => history.back(), { kind: "c-button-soft" });
const publish = button("Publish", sendOnce, { kind: "c-button-main c-wide" });
const heading = h("h1", {});
const bar = h("div", { class: "c-progress", role: "progressbar", "aria-label": "Step", "aria-valuemin": "1", "aria-valuemax": "2" }, h("i", {}), h("i", {}));
const foot = h("footer", { class: "c-composer-foot" });
const scroller = h("div", { class: "c-composer-scroll" }, first, second.element);

const step = () => (new URLSearchParams(location.search).get("step") === "audience" && complete() ? "audience" : "form");

function goTo(name) {
  const address = new URL(location.href);
  if (name === "audience") address.searchParams.set("step", name);
  else address.searchParams.delete("step");
  history.pushState(null, "", address);
  showStep();
}

function showStep() {
  const last = step() === "audience";
  first.hidden = last;
  second.element.hidden = !last;
  second.refuse(null);
  heading.textContent = last ? "List in more places" : "Item for sale";
  bar.setAttribute("aria-valuenow", last ? "2" : "1");
  foot.replaceChildren(bar, h("div", { class: "c-foot-buttons" }, last ? [previous, publish] : [next]));
  scroller.scrollTop = 0;
}

/** Sends the listing. Nothing keeps it from being sent twice: each press of Publish is a listing of its own. */
async function sendOnce() {
  second.refuse(null);
  publish.classList.add("c-busy");
  // Marks the press, so that a request repeated by the browser itself can be told from a second press.
  const click = crypto.randomUUID();
  try {
    const { goes_to } = await request("POST", "/api/publish", { click, fields: filled(), photos: photos.stored() });
    if (draft) await request("DELETE", `/api/drafts/${draft}`).catch(() => {});
    if (goes_to) location.assign(goes_to);
    else openDialog("Your listing is published", h("p", {}, "It may take a moment until everybody sees it."), (close) => [button("Close", close)]);
  } catch (error) {
    failed(error);
  } finally {
    publish.classList.remove("c-busy");
  }
}

function failed(error) {
  if (error.refused === "form") {
    second.refuse(error.message);
  } else if (error.refused === "limit") {
    openDialog("Limit reached", h("p", {}, error.message), (close) => [button("OK", close, { kind: "c-button-main" })]);
  } else {
    const text = "This may be because of a technical error we're working to fix. Try again later.";
    openDialog("Something isn't working", h("p", {}, text), (close) => [button("Close", close, { kind: "c-button-main" })]);
  }
}

async function saveDraft() {
  const put = { id: draft, form: { title: form.title, fields: form, priceText, photos: photos.stored() } };
  ({ id: draft } = await request("POST", "/api/drafts", put));
  toast("Draft saved");
}

const column = h(
  "div",
  { class: "c-composer-column" },
  h(
    "header",
    { class: "c-composer-head" },
    h("p", { class: "c-crumbs" }, h("a", { href: "/marketplace/create/" }, "Marketplace"), icon("forward")),
    h("div", {}, heading, button("Save draft", saveDraft, { kind: "c-button-soft c-small" })),
  ),
  scroller,
  foot,
);

showPage(h("div", { class: "c-composer" }, column, show.element), { side: false, wide: true });
window.addEventListener("popstate", showStep);
showAttributes();
photos.start();
showStep();
