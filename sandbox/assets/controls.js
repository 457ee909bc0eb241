// The composer's inputs. They behave as React's do: what counts is the state, which only `input` events change;
// each update writes the state back into the element, so that a value set behind its back is lost.

import { button, h, iconButton, makeId, pointerPressable, pressable, request } from "./dom.js";
import { icon } from "./icons.js";

function message(id) {
  const element = h("p", { id, class: "c-message", role: "alert", hidden: true });
  element.say = (text) => {
    element.hidden = !text;
    element.replaceChildren(...(text ? [icon("alert"), text] : []));
  };
  return element;
}

/**
 * A text field. `read` gives the state, `write` takes what was typed, `leave` is called on blur, `problem` says
 * what is wrong with the state; it is shown once the field was left.
 */
export function textField({ label, lines = 1, hint, named, limit, read, write, leave, problem = () => null }) {
  const id = makeId();
  const below = makeId();
  const input = h(lines > 1 ? "textarea" : "input", {
    id,
    dir: "ltr",
    type: lines > 1 ? null : "text",
    rows: lines > 1 ? lines : null,
    maxlength: limit,
    autocomplete: "off",
    "aria-label": named ? label : null,
    "aria-describedby": below,
  });
  const note = message(below);
  let left = false;
  const element = h(
    "div",
    { class: "c-field-box" },
    h("label", { for: id, class: lines > 1 ? "c-field c-field-tall" : "c-field" }, h("span", {}, label), input),
    hint ? h("p", { class: "c-hint" }, hint) : null,
    note,
  );
  input.addEventListener("input", () => write(input.value));
  input.addEventListener("blur", () => {
    left = true;
    leave?.();
    render();
  });
  const render = () => {
    if (input.value !== read()) input.value = read();
    const wrong = left ? problem() : null;
    element.classList.toggle("c-filled", read() !== "");
    element.classList.toggle("c-wrong", Boolean(wrong));
    input.setAttribute("aria-invalid", String(Boolean(wrong)));
    note.say(wrong);
  };
  return { element, render };
}

/** A label that opens something to choose from. */
function chooser(label, kind, read, open) {
  const value = h("span", { class: "c-chosen" });
  const control = h(
    "label",
    { role: "combobox", "aria-haspopup": kind, "aria-expanded": "false", tabindex: "0", id: makeId(), class: "c-field c-field-choice" },
    h("span", {}, label),
    value,
    icon("down"),
  );
  const element = h("div", { class: "c-field-box" }, control);
  const expanded = (yes) => control.setAttribute("aria-expanded", String(yes));
  pressable(control, () => open({ control, element, expanded }));
  const render = () => {
    value.textContent = read();
    element.classList.toggle("c-filled", read() !== "");
  };
  return { element, render };
}

/** Condition and Availability: a list of options. Escape does not close it; a press beside it does. */
export function listbox({ label, options, read, write }) {
  let list = null;
  const close = (expanded) => {
    list?.remove();
    list = null;
    expanded(false);
  };
  return chooser(label, "listbox", read, ({ control, element, expanded }) => {
    if (list) return close(expanded);
    const entries = options.map((text) => {
      const entry = h("div", { role: "option", tabindex: "0", "aria-selected": String(text === read()), id: makeId() }, h("span", {}, text), text === read() ? icon("check") : null);
      return pressable(entry, () => {
        close(expanded);
        write(text);
      });
    });
    list = h("div", { role: "listbox", "aria-label": label, class: "c-listbox", id: makeId() }, entries);
    control.setAttribute("aria-controls", list.id);
    element.append(list);
    expanded(true);
    const beside = (event) => {
      if (element.contains(event.target)) return;
      document.removeEventListener("pointerdown", beside);
      close(expanded);
    };
    document.addEventListener("pointerdown", beside);
  });
}

/** Category: a dialog with headings and leaves. A leaf wants a pointer that goes down and up on it. */
export function categoryField({ label, groups, read, write }) {
  return chooser(label, "dialog", read, ({ expanded }) => {
    const close = () => {
      menu.remove();
      expanded(false);
    };
    const leaves = (group) =>
      group.leaves.map((leaf) => {
        const suffix = leaf.delivery ? h("small", {}, "Delivery available") : null;
        const entry = h("div", { role: "button", tabindex: "0", class: "c-leaf" }, h("span", {}, leaf.name), suffix);
        return pointerPressable(entry, () => {
          close();
          write(leaf.name);
        });
      });
    const menu = h(
      "div",
      { role: "dialog", "aria-label": "Drop-down menu", class: "c-drop", id: makeId() },
      h("div", { class: "c-drop-head" }, h("b", {}, "Select a category"), iconButton("Close", "close", close)),
      h("div", { class: "c-drop-list" }, groups.map((group) => [h("h3", {}, group.heading), leaves(group)])),
    );
    menu.addEventListener("keydown", (event) => event.key === "Escape" && close());
    document.querySelector("[role=dialog][aria-label='Drop-down menu']")?.remove();
    document.getElementById("root").append(menu);
    expanded(true);
    menu.querySelector(".c-leaf").focus();
  });
}

/** Location: typed text counts for nothing until a suggestion is chosen. */
export function locationField({ read, write }) {
  const id = makeId();
  const input = h("input", {
    id,
    type: "text",
    role: "combobox",
    "aria-label": "Location",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    autocomplete: "off",
  });
  const note = message(makeId());
  const tick = h("span", { class: "c-tick", role: "img", "aria-label": "Location confirmed" }, icon("check"));
  const list = h("ul", { role: "listbox", "aria-label": "Suggestions", class: "c-listbox", id: makeId(), hidden: true });
  const element = h(
    "div",
    { class: "c-field-box" },
    h("label", { for: id, class: "c-field" }, h("span", {}, "Location"), input, tick),
    list,
    note,
  );
  let typed = null;
  let asked = 0;
  let timer;
  const hide = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
  };
  const choose = (place) => {
    typed = null;
    hide();
    write(place);
  };
  const suggest = async () => {
    const mine = ++asked;
    const { places } = await request("GET", `/api/places?q=${encodeURIComponent(typed ?? "")}`);
    if (mine !== asked || typed === null) return;
    list.replaceChildren(
      ...places.map((place) => {
        const [town, ...rest] = place.split(", ");
        const entry = h("li", { role: "option", "aria-selected": "false", "aria-label": place, id: makeId() }, icon("pin"), h("span", {}, town, h("small", {}, rest.join(", "))));
        // The field loses the focus on the way down; the choice is made on the way up.
        entry.addEventListener("pointerdown", (event) => event.preventDefault());
        entry.addEventListener("click", () => choose(place));
        return entry;
      }),
    );
    list.hidden = places.length === 0;
    input.setAttribute("aria-expanded", String(places.length > 0));
  };
  input.addEventListener("input", () => {
    typed = input.value;
    write("");
    clearTimeout(timer);
    timer = setTimeout(suggest, 150);
  });
  input.addEventListener("blur", hide);
  const render = () => {
    const text = typed ?? read();
    if (input.value !== text) input.value = text;
    const committed = read() !== "";
    tick.hidden = !committed;
    element.classList.toggle("c-filled", text !== "");
    element.classList.toggle("c-wrong", typed !== null);
    input.setAttribute("aria-invalid", String(typed !== null));
    note.say(typed === null ? null : "Please enter a valid location.");
  };
  return { element, render };
}

/** Meet-up preferences: boxes that are ticked one by one. */
export function checkbox({ label, read, write }) {
  const box = h("span", { class: "c-box" }, icon("check"));
  const element = h("div", { role: "checkbox", tabindex: "0", "aria-checked": "false", "aria-label": label, class: "c-check" }, h("span", {}, label), box);
  pressable(element, () => write(!read()));
  return { element, render: () => element.setAttribute("aria-checked", String(read())) };
}

/** A switch with a line of explanation. */
export function switchField({ label, text, read, write }) {
  const id = makeId();
  const input = h("input", { id, type: "checkbox", role: "switch", "aria-label": label });
  input.addEventListener("change", () => write(input.checked));
  const element = h(
    "label",
    { for: id, class: "c-switch" },
    h("span", {}, h("b", {}, label), h("small", {}, text)),
    input,
    h("i", { "aria-hidden": "true" }),
  );
  const render = () => {
    input.checked = read();
    input.setAttribute("aria-checked", String(read()));
  };
  return { element, render };
}

/** Product tags: Enter or a comma makes a chip. */
export function tagsField({ read, write, most }) {
  let typed = "";
  const chips = h("div", { class: "c-chips" });
  const field = textField({
    label: "Product tags",
    hint: `Optional. Limit: ${most}`,
    read: () => typed,
    write: (text) => {
      typed = text;
      if (/[\n,]$/.test(text)) add();
    },
  });
  const add = () => {
    const tag = typed.replace(/[\n,]/g, "").trim();
    typed = "";
    if (tag && read().length < most && !read().includes(tag)) write([...read(), tag]);
    field.render();
  };
  field.element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    add();
  });
  const element = h("div", {}, field.element, chips);
  const render = () => {
    field.render();
    chips.replaceChildren(
      ...read().map((tag) => {
        const remove = button(`Remove ${tag}`, () => write(read().filter((other) => other !== tag)), { kind: "c-chip-remove", content: [icon("close")] });
        return h("span", { class: "c-chip" }, tag, remove);
      }),
    );
  };
  return { element, render };
}
