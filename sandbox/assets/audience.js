// Step 2: where else to list it.

import { h, pressable } from "./dom.js";
import { icon } from "./icons.js";

function row(group, toggle) {
  const box = h("div", { role: "checkbox", "aria-label": group.name, class: "c-check-only" }, h("span", { class: "c-box" }, icon("check")));
  const element = h(
    "div",
    { role: "button", tabindex: "0", class: "c-row" },
    h("span", { class: "c-row-icon" }, icon("users")),
    h("span", { class: "c-row-text" }, h("b", {}, group.name), h("small", {}, `${group.members} · ${group.visibility}`)),
    box,
  );
  pressable(element, toggle);
  return { element, tick: (ticked) => box.setAttribute("aria-checked", String(ticked)) };
}

/** The audience step. `form().groups` names the ticked groups. */
export function audience({ groups, form, update }) {
  const toggle = (name) => {
    const ticked = form().groups;
    const chosen = ticked.includes(name) ? ticked.filter((other) => other !== name) : [...ticked, name];
    update({ groups: groups.map((group) => group.name).filter((known) => chosen.includes(known)) });
  };
  const rows = groups.map((group) => ({ group, ...row(group, () => toggle(group.name)) }));
  const problem = h("div", { role: "alert", class: "c-refusal", hidden: true });
  const element = h(
    "div",
    { class: "c-audience", hidden: true },
    problem,
    h("h2", {}, "List publicly"),
    h(
      "div",
      { class: "c-row c-row-fixed" },
      h("span", { class: "c-row-icon c-row-market" }, icon("bag")),
      h("span", { class: "c-row-text" }, h("b", {}, "Marketplace"), h("small", {}, "Anyone can see listings on Marketplace")),
      h("span", { class: "c-fixed-tick", role: "img", "aria-label": "Listed on Marketplace" }, icon("check")),
    ),
    h("h2", {}, "List in your groups"),
    h("p", { class: "c-hint" }, "You can list in up to 20 groups."),
    h("div", { class: "c-rows" }, rows.map(({ element: each }) => each)),
  );
  const render = () => rows.forEach(({ group, tick }) => tick(form().groups.includes(group.name)));
  const refuse = (text) => {
    problem.hidden = !text;
    problem.replaceChildren(...(text ? [icon("alert"), h("span", {}, text)] : []));
  };
  return { element, render, refuse };
}
