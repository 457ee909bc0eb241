// An address without a page.

import { boot, h } from "./dom.js";
import { showPage } from "./frame.js";
import { icon } from "./icons.js";

showPage(
  h(
    "div",
    { class: "c-empty" },
    icon("alert"),
    h("h1", {}, boot.heading),
    h("p", {}, "The link may be broken, or what it led to may have been removed."),
    h("a", { href: "/marketplace/", class: "c-button c-button-main" }, "Go to Marketplace"),
  ),
  { side: false },
);
