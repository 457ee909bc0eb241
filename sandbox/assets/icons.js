// Line icons, 24 by 24, drawn in the colour of the text around them.

const PATHS = {
  alert: '<path d="M12 4 2.8 20h18.4z"/><path d="M12 10v4.5M12 17.4v.1"/>',
  back: '<path d="m14.5 5-7 7 7 7"/>',
  bag: '<path d="M5 9h14l-1.2 11H6.2z"/><path d="M8.5 9a3.5 3.5 0 0 1 7 0"/>',
  camera: '<rect x="3" y="7" width="18" height="13" rx="3"/><path d="M8.5 7 10 4.5h4L15.5 7"/><circle cx="12" cy="13.2" r="3.4"/>',
  check: '<path d="m5 12.5 4.5 4.5L19 7.5"/>',
  close: '<path d="m6 6 12 12M18 6 6 18"/>',
  down: '<path d="m6 9.5 6 6 6-6"/>',
  dots: '<circle cx="5" cy="12" r="1.4"/><circle cx="12" cy="12" r="1.4"/><circle cx="19" cy="12" r="1.4"/>',
  forward: '<path d="m9.5 5 7 7-7 7"/>',
  globe: '<circle cx="12" cy="12" r="9"/><path d="M3 12h18M12 3c3 2.6 3 15.4 0 18M12 3c-3 2.6-3 15.4 0 18"/>',
  image: '<rect x="3" y="4.5" width="18" height="15" rx="3"/><circle cx="8.6" cy="10" r="1.7"/><path d="m4 17.5 5-4.5 3.5 3 3-2.5 4.5 4"/>',
  list: '<path d="M9 6h12M9 12h12M9 18h12M4 6h.1M4 12h.1M4 18h.1"/>',
  lock: '<rect x="5" y="11" width="14" height="9" rx="2"/><path d="M8 11V8a4 4 0 0 1 8 0v3"/>',
  pin: '<path d="M12 21c4.6-4.6 7-8 7-11a7 7 0 1 0-14 0c0 3 2.4 6.4 7 11z"/><circle cx="12" cy="10" r="2.6"/>',
  plus: '<path d="M12 5v14M5 12h14"/>',
  search: '<circle cx="10.5" cy="10.5" r="6.5"/><path d="m15.5 15.5 5 5"/>',
  tag: '<path d="M3.5 12.5V4.5h8l9 9-8 8z"/><path d="M7.8 8.8h.1"/>',
  users: '<circle cx="9" cy="8.5" r="3.5"/><path d="M2.5 20c.4-4 3-6 6.5-6s6.100 2 6.500 6"/><path d="M15.500 5.300a3.500 3.500 0 0 1 0 6.400M17.500 14.300c2.400.7 3.700 2.600 4 5.700"/>',
};

/** The icon as an element that readers skip. */
export function icon(name) {
  const template = document.createElement("template");
  template.innerHTML =
    `<svg class="c-icon" viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" ` +
    `stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${PATHS[name]}</svg>`;
  return template.content.firstChild;
}
