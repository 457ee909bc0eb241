// Photos: a hidden file input, uploads that end when they end, and thumbnails in the order of choice.

import { h, makeId, pressable, request } from "./dom.js";
import { icon } from "./icons.js";

const AT_ONCE = 3;

/** The photo part of the composer. `changed` is called whenever a photo comes, is ready, or goes. */
export function photoField({ limit, start, changed }) {
  // Each: { name, src, sha256, show }; sha256 is null while the upload is under way.
  let photos = [];
  const waiting = [];
  let running = 0;

  const input = h("input", { type: "file", accept: "image/*,image/heif,image/heic", multiple: true, id: makeId(), class: "c-file", tabindex: "-1" });
  const counter = h("p", { class: "c-hint c-counter" });
  const trouble = h("div", { class: "c-trouble", role: "alert" });
  const thumbs = h("div", { class: "c-photos" });
  const add = h("div", { role: "button", tabindex: "0", "aria-label": "Add photos", class: "c-add-photos" }, icon("camera"), h("b", {}, "Add photos"), h("span", {}, "or drag and drop"));
  pressable(add, () => input.click());
  const element = h("section", { class: "c-photo-part", "aria-label": "Photos" }, counter, thumbs, input, trouble);

  const complain = (text) => trouble.append(h("p", { class: "c-message" }, icon("alert"), text));

  const take = (files) => {
    trouble.replaceChildren();
    const room = limit - photos.length;
    if (files.length > room) complain(`You can add up to ${limit} photos.`);
    for (const file of [...files].slice(0, room)) {
      const photo = thumb({ name: file.name, src: URL.createObjectURL(file), sha256: null });
      photos.push(photo);
      waiting.push([photo, file]);
    }
    update();
    while (running < AT_ONCE && waiting.length) uploadNext();
  };

  const uploadNext = async () => {
    const [photo, file] = waiting.shift();
    running += 1;
    try {
      const form = new FormData();
      form.append("photo", file, file.name);
      const stored = await request("POST", "/api/photos", form);
      photo.sha256 = stored.sha256;
      URL.revokeObjectURL(photo.src);
      photo.src = `/media/${stored.sha256}`;
    } catch (error) {
      photos = photos.filter((other) => other !== photo);
      complain(error.status ? error.message : `${file.name} couldn't be uploaded. Please try again.`);
    }
    running -= 1;
    update();
    if (waiting.length) uploadNext();
  };

  // A thumbnail lives as long as its photo; only what changes is written anew.
  const thumb = (photo) => {
    const picture = h("img", { alt: "" });
    const remove = h("div", { role: "button", tabindex: "0", class: "c-remove" }, icon("close"));
    const spinner = h("span", { role: "progressbar", "aria-label": `Uploading ${photo.name}`, class: "c-spinner" });
    const cover = h("span", { class: "c-cover" }, "Cover");
    const frame = h("div", { class: "c-photo" }, picture);
    pressable(remove, () => {
      photos = photos.filter((other) => other !== photo);
      update();
    });
    photo.show = (index) => {
      const stored = photo.sha256 !== null;
      if (picture.getAttribute("src") !== photo.src) picture.src = photo.src;
      remove.setAttribute("aria-label", `Remove photo ${index + 1} of ${photos.length}`);
      frame.classList.toggle("c-photo-waiting", !stored);
      for (const [part, shown] of [[remove, stored], [spinner, !stored], [cover, stored && index === 0]]) {
        if (shown && !part.isConnected) frame.append(part);
        if (!shown) part.remove();
      }
      return frame;
    };
    return photo;
  };

  const update = () => {
    counter.textContent = `Photos · ${photos.length}/${limit} · You can add up to ${limit} photos.`;
    thumbs.classList.toggle("c-photos-none", photos.length === 0);
    const shown = [...photos.map((photo, index) => photo.show(index)), ...(photos.length < limit ? [add] : [])];
    for (const gone of [...thumbs.children].filter((child) => !shown.includes(child))) gone.remove();
    shown.forEach((child, index) => thumbs.children[index] !== child && thumbs.insertBefore(child, thumbs.children[index] ?? null));
    changed();
  };

  input.addEventListener("change", () => {
    take(input.files);
    // The same file may be chosen again.
    input.value = "";
  });
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });

  photos = start.map(({ name, sha256 }) => thumb({ name, sha256, src: `/media/${sha256}` }));

  return {
    element,
    start: update,
    all: () => photos,
    ready: () => photos.length > 0 && photos.every((photo) => photo.sha256),
    stored: () => photos.filter((photo) => photo.sha256).map(({ sha256, name }) => ({ sha256, name })),
  };
}
