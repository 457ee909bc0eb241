// What every page needs: elements, generated ids, presses, requests, dialogs.

import { icon } from "./icons.js";

/** The data that came with the page. */
export const boot = JSON.parse(document.getElementById("boot").textContent);

/** Makes an element: `on…` properties are listeners, `false` and `null` leave an attribute out. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Ids start at another number with each load and mean nothing.
let next = 36 + Math.floor(Math.random() * 46000);

/** An id that no other load of the page has for the same element. */
export function makeId() {
  next += 1;
  return `_r_${next.toString(36)}_`;
}

/** Calls `act` for a click, Enter or Space, unless the element is disabled. */
export function pressable(element, act) {
  const enabled = () => element.getAttribute("aria-disabled") !== "true";
  element.addEventListener("click", (event) => enabled() && act(event));
  element.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === " ") && event.target === element && enabled()) {
      event.preventDefault();
      act(event);
    }
  });
  return element;
}

/** Calls `act` for a pointer pressed and released on the element, or Enter. A mere click event does nothing. */
export function pointerPressable(element, act) {
  let down = false;
  element.addEventListener("pointerdown", () => (down = true));
  element.addEventListener("pointerleave", () => (down = false));
  element.addEventListener("pointerup", (event) => {
    if (down) act(event);
    down = false;
  });
  element.addEventListener("keydown", (event) => event.key === "Enter" && act(event));
  return element;
}

/** A button as the site draws it: a div with a role. `setDisabled` keeps it in the page and only marks it. */
export function button(label, act, { kind = "c-button-plain", disabled = false, content = [label] } = {}) {
  const element = h("div", { role: "button", "aria-label": label, class: `c-button ${kind}` }, content);
  element.setDisabled = (off) => {
    if (off) element.setAttribute("aria-disabled", "true");
    else element.removeAttribute("aria-disabled");
    element.tabIndex = off ? -1 : 0;
  };
  element.setDisabled(disabled);
  return pressable(element, act);
}

/** A round button with only an icon in it. */
export function iconButton(label, name, act, kind = "") {
  return button(label, act, { kind: `c-icon-button ${kind}`, content: [icon(name)] });
}

/** A failed request: `status` 0 means that no reply came. */
export class RequestError extends Error {
  constructor(status, body) {
    super(body?.error ?? "No reply");
    this.status = status;
    this.refused = body?.refused;
  }
}

/** Sends a request and gives the JSON of the reply. A lost session leads to the login form. */
export async function request(method, path, body) {
  const form = body instanceof FormData;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body && !form ? { "content-type": "application/json" } : {},
      body: form ? body : body && JSON.stringify(body),
    });
  } catch {
    throw new RequestError(0, null);
  }
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    return new Promise(() => {});
  }
  const text = await response.text().catch(() => {
    throw new RequestError(0, null);
  });
  const reply = text ? JSON.parse(text) : null;
  if (!response.ok) throw new RequestError(response.status, reply);
  return reply;
}

/** Opens a dialog over the page. Gives a function that closes it. */
export function openDialog(title, content, actions) {
  const heading = makeId();
  const close = () => shade.remove();
  const box = h(
    "div",
    { role: "dialog", "aria-modal": "true", "aria-label": title, class: "c-dialog" },
    h("header", { class: "c-dialog-head" }, h("h2", { id: heading }, title), iconButton("Close", "close", close)),
    h("div", { class: "c-dialog-body" }, content),
    h("footer", { class: "c-dialog-foot" }, actions(close)),
  );
  const shade = h("div", { class: "c-shade" }, box);
  document.body.append(shade);
  box.querySelector("footer [role=button]")?.focus();
  return close;
}

/** Shows a line at the foot of the page for a while. */
export function toast(text) {
  const note = h("div", { role: "status", class: "c-toast" }, icon("check"), text);
  document.body.append(note);
  setTimeout(() => note.remove(), 4000);
}

/** "22/11". */
export function dayAndMonth(time) {
  const date = new Date(time);
  return `${date.getDate()}/${date.getMonth() + 1}`;
}

/** "3 minutes ago". */
export function ago(time) {
  const minutes = Math.max(0, Math.round((Date.now() - new Date(time)) / 60000));
  const words = (count, unit) => `${count} ${unit}${count === 1 ? "" : "s"} ago`;
  if (minutes < 1) return "just now";
  if (minutes < 60) return words(minutes, "minute");
  if (minutes < 60 * 24) return words(Math.round(minutes / 60), "hour");
  return words(Math.round(minutes / 60 / 24), "day");
}
