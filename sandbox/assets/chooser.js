// "Choose listing type".

import { h } from "./dom.js";
import { showPage } from "./frame.js";
import { icon } from "./icons.js";

showPage(
  [
    h("h1", {}, "Create new listing"),
    h("p", { class: "c-lead" }, "Choose listing type"),
    h(
      "div",
      { class: "c-choices" },
      h(
        "a",
        { href: "/marketplace/create/item", class: "c-choice" },
        h("span", { class: "c-choice-icon" }, icon("tag")),
        h("b", {}, "Item for sale"),
        h("span", {}, "Create a single listing for one or more items to sell."),
      ),
    ),
  ],
  { side: true },
);
