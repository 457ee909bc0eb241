// The frame around every page: banner, top bar, and the menu at the side.

import { boot, h, pressable, request } from "./dom.js";
import { icon } from "./icons.js";

/** The round picture of a person without a picture: initials on a colour of their own. */
export function avatar(name, size = "") {
  const initials = name.split(" ").map((word) => word[0]).slice(0, 2).join("");
  const hue = [...name].reduce((sum, letter) => sum + letter.codePointAt(0) * 7, 0) % 360;
  const element = h("span", { class: `c-avatar ${size}`, "aria-hidden": "true" }, initials);
  element.style.background = `hsl(${hue} 38% 42%)`;
  return element;
}

function accountMenu({ name, email }) {
  const leave = h("form", { method: "post", action: "/logout" }, h("button", { type: "submit" }, "Log out"));
  const menu = h(
    "div",
    { class: "c-account-menu", hidden: true },
    h("p", {}, h("b", {}, name), h("span", {}, email)),
    h("a", { href: "/marketplace/you/selling" }, "Your listings"),
    leave,
  );
  const opener = h(
    "div",
    { role: "button", tabindex: "0", "aria-label": "Your profile", "aria-expanded": "false", class: "c-account" },
    avatar(name),
    h("span", { class: "c-account-text" }, h("b", {}, name), h("span", {}, email)),
    icon("down"),
  );
  pressable(opener, () => {
    menu.hidden = !menu.hidden;
    opener.setAttribute("aria-expanded", String(!menu.hidden));
  });
  return h("div", { class: "c-account-box" }, opener, menu);
}

function topBar() {
  const search = h("input", { type: "search", name: "q", placeholder: "Search Marketsquare", "aria-label": "Search Marketsquare" });
  search.value = location.pathname === "/marketplace/" ? (new URLSearchParams(location.search).get("q") ?? "") : "";
  return h(
    "header",
    { class: "c-topbar", role: "banner" },
    h("a", { href: "/marketplace/", class: "c-brand" }, h("span", { class: "c-brand-mark" }, icon("bag")), "Marketsquare"),
    h("form", { role: "search", class: "c-search", method: "get", action: "/marketplace/" }, icon("search"), search),
    boot.account ? accountMenu(boot.account) : h("a", { href: "/login", class: "c-button c-button-main" }, "Log in"),
  );
}

function link(href, name, text) {
  const here = location.pathname.replace(/\/$/, "") === href.replace(/\/$/, "");
  return h("a", { href, "aria-current": here ? "page" : null }, h("span", { class: "c-nav-icon" }, icon(name)), text);
}

function sideMenu() {
  return h(
    "nav",
    { class: "c-side", "aria-label": "Marketplace" },
    h("h2", {}, "Marketplace"),
    link("/marketplace/", "bag", "Browse all"),
    link("/marketplace/you/selling", "tag", "Your listings"),
    h("a", { href: "/marketplace/create/", class: "c-button c-button-soft c-wide" }, icon("plus"), "Create new listing"),
  );
}

/** Fills the page with its frame and `content`. */
export function showPage(content, { side = true, wide = false } = {}) {
  const main = h("main", { class: wide ? "c-main c-main-wide" : "c-main" }, content);
  const banner = h(
    "div",
    { class: "c-banner", role: "note" },
    h("strong", {}, "Practice marketplace."),
    " Nothing here is for sale, and only this computer can see it.",
  );
  const body = h("div", { class: side && boot.account ? "c-body c-body-side" : "c-body" }, side && boot.account ? sideMenu() : null, main);
  document.getElementById("root").replaceChildren(banner, topBar(), body);
}

/** Calls `more` whenever the end of the page comes near, until it says that there is no more. */
export function onEnd(element, more) {
  let busy = false;
  const observer = new IntersectionObserver(async (entries) => {
    if (busy || !entries.some((entry) => entry.isIntersecting)) return;
    busy = true;
    const goesOn = await more();
    busy = false;
    observer.unobserve(element);
    // Observing anew reports the element again when it is still in view.
    if (goesOn) observer.observe(element);
  }, { rootMargin: "200px" });
  observer.observe(element);
  return () => observer.disconnect();
}

/** A batch of a list of items. */
export function fetchBatch(path, query, offset) {
  return request("GET", `${path}?q=${encodeURIComponent(query)}&offset=${offset}`);
}
