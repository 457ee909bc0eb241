// Runs inside the page, once per call: waits there until the target is ready, acts, and answers with what it sees.
// Called as an asynchronous script: arguments are the request, the watched interruptions, and WebDriver's callback.
const request = arguments[0];
const watched = arguments[1];
const callback = arguments[arguments.length - 1];

// Texts: the same normal forms as tradepost_recipe::normal.
const unmark = /[\u200b-\u200f\u2060\ufeff\u00ad\ufe00-\ufe0f]/g;
const line = (text) => String(text ?? '')
  .replace(/[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]/g, '-')
  .replace(/[\u2018-\u201b\u2032]/g, "'").replace(/[\u201c-\u201f\u2033]/g, '"')
  .replace(unmark, '').replace(/[\s\u0085]+/g, ' ').trim();
const label = (text) => line(String(text ?? '').toLowerCase());
const fits = (rule, text) => {
  const shown = label(text);
  return (rule.equals ?? []).some((wanted) => shown === label(wanted))
    || (rule.starts_with ?? []).some((wanted) => shown.startsWith(label(wanted)))
    || (rule.contains ?? []).some((wanted) => shown.includes(label(wanted)))
    || (rule.matches != null && new RegExp(rule.matches).test(line(text)));
};

// Elements: visibility, role, accessible name, value.
const visible = (el) => el.tagName === 'OPTION'
  || (el.getClientRects().length > 0 && el.checkVisibility({ visibilityProperty: true }))
  || (getComputedStyle(el).display === 'contents' && [...el.children].some(visible));
const inputRoles = {
  button: 'button', submit: 'button', reset: 'button', image: 'button', checkbox: 'checkbox', radio: 'radio',
  range: 'slider', number: 'spinbutton', search: 'searchbox', hidden: '', file: '',
};
const tagRoles = {
  BUTTON: 'button', SUMMARY: 'button', TEXTAREA: 'textbox', OPTION: 'option', H1: 'heading', H2: 'heading',
  H3: 'heading', H4: 'heading', H5: 'heading', H6: 'heading', IMG: 'img', TABLE: 'table', TR: 'row', TD: 'cell',
  UL: 'list', OL: 'list', LI: 'listitem', NAV: 'navigation', MAIN: 'main', DIALOG: 'dialog', ARTICLE: 'article',
  FORM: 'form', HEADER: 'banner',
};
const roleOf = (el) => {
  const given = el.getAttribute('role');
  if (given) return given.trim().split(/\s+/)[0];
  if (el.tagName === 'INPUT') return inputRoles[el.type] ?? (el.hasAttribute('list') ? 'combobox' : 'textbox');
  if (el.tagName === 'A') return el.hasAttribute('href') ? 'link' : '';
  if (el.tagName === 'SELECT') return el.multiple || el.size > 1 ? 'listbox' : 'combobox';
  if (el.isContentEditable && el.getAttribute('contenteditable') != null) return 'textbox';
  return tagRoles[el.tagName] ?? '';
};
const roleSelectors = {
  button: 'button,summary,input[type=button],input[type=submit],input[type=reset],input[type=image]',
  checkbox: 'input[type=checkbox]', radio: 'input[type=radio]', link: 'a[href]', option: 'option',
  textbox: 'input,textarea,[contenteditable]', searchbox: 'input[type=search]', spinbutton: 'input[type=number]',
  combobox: 'select,input[list]', listbox: 'select', heading: 'h1,h2,h3,h4,h5,h6', img: 'img', table: 'table',
  row: 'tr', cell: 'td', list: 'ul,ol', listitem: 'li', navigation: 'nav', main: 'main', dialog: 'dialog',
  article: 'article', form: 'form', banner: 'header',
};
const byIds = (ids) => ids.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
const withoutControls = (el) => {
  let text = '';
  for (const node of el.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) text += node.data;
    else if (node.nodeType === Node.ELEMENT_NODE
      && !/^(INPUT|SELECT|TEXTAREA|SCRIPT|STYLE)$/.test(node.tagName)
      && node.getAttribute('role') !== 'listbox') text += ' ' + withoutControls(node) + ' ';
  }
  return text;
};
const labelTexts = (el) => [...(el.labels ?? [])].map(withoutControls);
const nameOf = (el) => {
  const labelledBy = el.getAttribute('aria-labelledby');
  if (labelledBy && line(byIds(labelledBy))) return byIds(labelledBy);
  const given = el.getAttribute('aria-label');
  if (given) return given;
  const labels = labelTexts(el);
  if (labels.length) return labels.join(' ');
  if (el.tagName === 'IMG') return el.alt;
  if (el.tagName === 'INPUT' && /^(submit|button|reset)$/.test(el.type)) return el.value || el.title;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName)) return el.title || el.placeholder || '';
  const text = el.innerText ?? el.textContent;
  return line(text) ? text : el.title || [...el.querySelectorAll('img[alt],[aria-label]')]
    .map((inner) => inner.alt || inner.getAttribute('aria-label')).join(' ');
};
const isText = (el) => el.tagName === 'TEXTAREA' || (el.tagName === 'INPUT' && !/^(checkbox|radio|file)$/.test(el.type));
const valueOf = (el) => {
  if (el.tagName === 'INPUT' && el.type === 'file') return [...el.files].map((file) => file.name).join('\n');
  if (el.tagName === 'INPUT' && /^(checkbox|radio)$/.test(el.type)) return el.checked ? 'on' : 'off';
  if (isText(el)) return el.value;
  if (el.tagName === 'SELECT') return el.selectedOptions[0]?.text ?? '';
  // Style may shout; the text itself does not.
  return (getComputedStyle(el).textTransform === 'none' && el.innerText) || el.textContent || '';
};
const checkedOf = (el) => {
  if (el.tagName === 'INPUT' && /^(checkbox|radio)$/.test(el.type)) return el.checked;
  const state = el.getAttribute('aria-checked') ?? el.getAttribute('aria-pressed') ?? el.getAttribute('aria-selected');
  return state == null ? null : state === 'true';
};
const enabled = (el) => !el.matches(':disabled') && !el.closest('[aria-disabled=true]');

// Locators.
const candidates = (locator, root) => {
  if (locator.css != null) return [...root.querySelectorAll(locator.css)];
  if (locator.role != null) {
    const implied = roleSelectors[locator.role];
    const selector = `[role~="${locator.role}"]` + (implied ? ',' + implied : '');
    return [...root.querySelectorAll(selector)]
      .filter((el) => roleOf(el) === locator.role && (!locator.name || fits(locator.name, nameOf(el))));
  }
  if (locator.label != null) {
    const found = new Set();
    for (const el of root.querySelectorAll('label')) {
      if (!fits(locator.label, withoutControls(el))) continue;
      const control = el.control ?? el.querySelector('input,select,textarea,[role=combobox],[role=textbox],[contenteditable]')
        ?? (el.hasAttribute('role') ? el : null);
      if (control) found.add(control);
    }
    for (const el of root.querySelectorAll('[aria-label],[aria-labelledby]')) {
      const control = /^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName)
        || /^(combobox|textbox|searchbox|switch|checkbox|radio|spinbutton|listbox)$/.test(el.getAttribute('role') ?? '');
      if (control && fits(locator.label, nameOf(el))) found.add(el);
    }
    return [...found];
  }
  const found = new Set();
  const walker = document.createTreeWalker(root.body ?? root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.data.trim() || /^(SCRIPT|STYLE|NOSCRIPT)$/.test(node.parentElement?.tagName ?? 'SCRIPT')) continue;
    for (let el = node.parentElement, up = 0; el && up < 4; el = el.parentElement, up += 1) {
      if (fits(locator.text, el.textContent)) { found.add(el); break; }
    }
  }
  return [...found];
};
const matches = (locator, root) => {
  let scope = root;
  if (locator.within) {
    const outer = find(locator.within, root);
    if (!outer) return [];
    [scope] = outer.els;
  }
  const found = candidates(locator, scope).filter((el) => (locator.hidden || visible(el))
    && (!locator.having || find(locator.having, el))
    && (!locator.after || find(locator.after, el.parentElement)?.els.includes(el.previousElementSibling))
    && (locator.checked == null || checkedOf(el) === locator.checked)
    && (!locator.shows || fits(locator.shows, valueOf(el))));
  return locator.nth == null ? found : found.slice(locator.nth, locator.nth + 1);
};
const find = (target, root = document) => {
  for (const [matched, locator] of target.entries()) {
    const els = matches(locator, root);
    if (els.length) return { els, matched };
  }
  return null;
};
const controlOf = ({ els, matched }) => ({
  value: els.length > 1 && els.every((el) => el.type === 'file')
    ? els.map(valueOf).filter((name) => name).join('\n') : valueOf(els[0]),
  checked: checkedOf(els[0]), enabled: enabled(els[0]), count: els.length, matched,
});

// Conditions, and waiting for them.
const headings = () => [...document.querySelectorAll('h1,h2,h3,h4,h5,h6,[role=heading]')].filter(visible);
const where = () => {
  const heading = headings().map((el) => line(el.innerText)).find((text) => text) ?? line(document.title);
  return `${heading ? `"${heading.slice(0, 80)}" ` : ''}at ${location.href.slice(0, 200)}`;
};
// Null when the condition does not hold; else the element it found, or the document.
const holds = (condition) => {
  let found = document;
  if (condition.url != null && !new RegExp(condition.url).test(location.pathname + location.search)) return null;
  if (condition.heading && !headings().some((el) => fits(condition.heading, el.innerText))) return null;
  if (condition.visible) {
    const seen = find(condition.visible);
    if (!seen || seen.els.length < (condition.at_least ?? 1)) return null;
    [found] = seen.els;
  }
  if (condition.absent && find(condition.absent)) return null;
  if (condition.text && !fits(condition.text, document.body?.innerText ?? '')) return null;
  return found;
};
class Stop extends Error { constructor(answer) { super('stop'); this.answer = answer; } }
const lookAround = () => {
  if (location.protocol === 'chrome-error:') {
    throw new Stop({ network: line(document.body?.innerText).slice(0, 200) || 'the browser shows an error page' });
  }
  for (const [index, condition] of watched.entries()) {
    const found = holds(condition);
    if (found) {
      const text = found === document ? where() : line(found.innerText).slice(0, 400);
      throw new Stop({ interrupted: { index, text } });
    }
  }
};
// Resolves with the first value that is not null; the look is repeated whenever the page changes, at most every
// 25 ms, and now and then for what no observer reports (values, layout).
const until = (look, deadline, late) => new Promise((resolve, reject) => {
  const started = performance.now();
  let timer = null;
  let ended = false;
  const observer = new MutationObserver(() => soon(25));
  const end = (settle, value) => {
    if (ended) return;
    ended = true;
    observer.disconnect();
    clearTimeout(timer);
    for (const event of events) document.removeEventListener(event, onEvent, true);
    settle(value);
  };
  const check = () => {
    if (ended) return;
    timer = null;
    try {
      if (document.readyState !== 'loading') {
        lookAround();
        const value = look();
        if (value != null) { end(resolve, value); return; }
      }
      const left = deadline - (performance.now() - started);
      if (left <= 0) { end(resolve, late()); return; }
      soon(Math.min(100, left));
    } catch (error) { end(reject, error); }
  };
  let due = 0;
  const soon = (delay) => {
    const at = performance.now() + delay;
    if (timer != null && due <= at) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(check, delay);
  };
  const onEvent = () => soon(0);
  const events = ['readystatechange', 'input', 'change', 'DOMContentLoaded', 'transitionend'];
  for (const event of events) document.addEventListener(event, onEvent, true);
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  check();
});
const described = (el) => el.getAttribute('aria-label') || line(el.innerText).slice(0, 60) || el.tagName.toLowerCase();
const stop = (answer) => { throw new Stop(answer); };
const present = (target, deadline) => until(() => find(target), deadline, () => stop({ missing: where() }));
// Visible, enabled, the only one, and not covered.
const ready = (target, deadline, { alone }) => {
  let trouble = null;
  return until(() => {
    trouble = null;
    const found = find(target);
    if (!found) return null;
    if (alone && found.els.length > 1) { trouble = { ambiguous: found.els.length, at: where() }; return null; }
    const [el] = found.els;
    if (!enabled(el)) { trouble = { disabled: where() }; return null; }
    const free = () => {
      const box = el.getBoundingClientRect();
      hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
      return hit && (hit === el || el.contains(hit) || hit.contains(el));
    };
    let hit = null;
    if (free()) return found;
    // Out of view, or under the edge of what scrolls.
    el.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' });
    if (free() || !hit) return found;
    // A drawn switch lies over its input: its label is what a person clicks.
    const drawn = [...(el.labels ?? [])].find((l) => l.contains(hit));
    if (drawn) return { ...found, press: hit };
    trouble = { covered: described(hit), at: where() };
    return null;
  }, deadline, () => stop(trouble ?? { missing: where() }));
};

// Setting values so that frameworks notice.
const setNative = (el, value) => {
  const proto = el.tagName === 'TEXTAREA' ? HTMLTextAreaElement : el.tagName === 'SELECT' ? HTMLSelectElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(proto.prototype, 'value').set.call(el, value);
};
const fire = (el, type, init = {}) => {
  const Kind = type === 'input' ? InputEvent : Event;
  el.dispatchEvent(new Kind(type, { bubbles: true, composed: true, ...init }));
};
const pause = () => new Promise((resolve) => { setTimeout(resolve, 0); });
const write = (el, text) => {
  if (el.isContentEditable) {
    getSelection().selectAllChildren(el);
    document.execCommand(text ? 'insertText' : 'delete', false, text);
    return;
  }
  // No more than a person could type.
  const kept = el.maxLength > 0 ? text.slice(0, el.maxLength) : text;
  setNative(el, kept);
  fire(el, 'input', { inputType: 'insertText', data: kept });
};
const again = (found) => controlOf({ ...found, els: found.els[0].isConnected ? found.els : (find(request.target)?.els ?? found.els) });

const labelFor = (el) => line(nameOf(el)) || el.name || '';
const complaintOf = (el) => {
  const ids = [el.getAttribute('aria-errormessage'), el.getAttribute('aria-describedby')].filter(Boolean).join(' ');
  const told = ids ? line(byIds(ids)) : '';
  if (told) return told;
  for (let next = el.nextElementSibling; next; next = next.nextElementSibling) {
    if (visible(next) && line(next.innerText)) return line(next.innerText);
  }
  return '';
};

const operations = {
  async wait({ any, deadline }) {
    return until(() => {
      for (const [index, condition] of any.entries()) {
        const found = holds(condition);
        if (found) {
          const el = found === document ? null : found;
          return {
            index, url: location.href, heading: line(headings()[0]?.innerText), text: el ? line(valueOf(el)).slice(0, 400) : '',
            href: el ? (el.closest('a[href]') ?? el.querySelector('a[href]'))?.getAttribute('href') ?? null : null,
          };
        }
      }
      return null;
    }, deadline, () => ({ late: where() }));
  },
  async read({ targets }) {
    lookAround();
    return targets.map((target) => { const found = find(target); return found ? controlOf(found) : null; });
  },
  async fill({ target, text, commit, deadline }) {
    const found = await ready(target, deadline, { alone: false });
    const [el] = found.els;
    el.focus();
    write(el, text);
    if (commit === 'enter') for (const type of ['keydown', 'keypress', 'keyup']) {
      el.dispatchEvent(new KeyboardEvent(type, { key: 'Enter', code: 'Enter', keyCode: 13, which: 13, bubbles: true, cancelable: true }));
    }
    if (commit !== 'stay') { fire(el, 'change'); el.blur(); }
    await pause();
    return again(found);
  },
  async select({ target, option, deadline }) {
    const found = await ready(target, deadline, { alone: false });
    const [el] = found.els;
    const late = () => stop({ no_option: [...el.options].map((o) => line(o.text)).filter((text) => text).slice(0, 30) });
    const choice = await until(() => [...el.options].find((o) => fits(option, o.text) && !o.disabled), Math.min(deadline, 3000), late);
    el.focus();
    if (!choice.selected) { setNative(el, choice.value); fire(el, 'input'); fire(el, 'change'); }
    el.blur();
    await pause();
    return again(found);
  },
  async ready({ target, deadline, alone }) {
    const found = await ready(target, deadline, { alone });
    return { element: found.press ?? found.els[0], control: controlOf(found) };
  },
  async checked({ target, wanted, deadline }) {
    const found = await until(() => {
      const now = find(target);
      return now && (wanted == null || checkedOf(now.els[0]) === wanted) ? now : null;
    }, deadline, () => find(target) ?? stop({ missing: where() }));
    return { element: found.els[0], control: controlOf(found) };
  },
  async empty({ target, deadline }) {
    const found = await ready(target, deadline, { alone: false });
    const [el] = found.els;
    el.focus();
    if (valueOf(el)) write(el, '');
    return { element: el, control: controlOf(found) };
  },
  async insert({ target, text, deadline }) {
    const found = await present(target, deadline);
    found.els[0].focus();
    document.execCommand('insertText', false, text);
    await pause();
    return again(found);
  },
  async files({ target, deadline }) {
    const hidden = target.map((locator) => ({ ...locator, hidden: true }));
    const found = await present(hidden, deadline);
    return { elements: found.els, control: controlOf(found) };
  },
  async extract({ rows, columns }) {
    lookAround();
    return (find(rows)?.els ?? []).map((row) => Object.fromEntries(columns.flatMap(({ name, target, attribute, pattern }) => {
      const el = target ? find(target, row)?.els[0] : row;
      if (!el) return [];
      let value = !attribute ? valueOf(el) : attribute === 'textContent' ? el.textContent : el.getAttribute(attribute);
      if (value == null) return [];
      value = attribute ? value.trim() : line(value) && value.trim();
      if (!pattern) return [[name, value]];
      const match = new RegExp(pattern).exec(value.replace(/\s+/g, ' ').trim());
      return match ? [[name, match.groups?.value ?? match[0]]] : [];
    })));
  },
  async scroll({ rows, known, deadline }) {
    const list = find(rows)?.els ?? [];
    const last = list[list.length - 1];
    last?.scrollIntoView({ block: 'end', behavior: 'instant' });
    for (let el = last?.parentElement; el; el = el.parentElement) {
      if (el.scrollHeight > el.clientHeight + 1) el.scrollTop = el.scrollHeight;
    }
    scrollTo(0, document.documentElement.scrollHeight);
    let quietSince = performance.now();
    const observer = new MutationObserver(() => { quietSince = performance.now(); });
    observer.observe(document, { subtree: true, childList: true });
    try {
      return await until(() => {
        const count = find(rows)?.els.length ?? 0;
        return count > known || performance.now() - quietSince > 800 ? count : null;
      }, deadline, () => find(rows)?.els.length ?? 0);
    } finally { observer.disconnect(); }
  },
  async errors({ fields, also }) {
    const owners = fields.map((target) => find(target)?.els[0]);
    const found = [];
    const say = (el, text) => {
      const words = line(text).slice(0, 200);
      if (!words || found.some((one) => one.text === words)) return;
      const field = el ? owners.findIndex((owner) => owner && (owner === el || owner.contains(el) || el.contains(owner))) : -1;
      found.push({ field: field < 0 ? null : field, label: el ? labelFor(el) : '', text: words });
    };
    for (const el of document.querySelectorAll('[aria-invalid=true]')) if (visible(el)) say(el, complaintOf(el) || 'is not valid');
    for (const el of document.querySelectorAll('input:invalid,select:invalid,textarea:invalid')) {
      if (!el.form?.noValidate && (visible(el) || el.type === 'file')) say(el, el.validationMessage);
    }
    for (const el of document.querySelectorAll('[role=alert]')) if (visible(el)) say(null, el.innerText);
    if (also) for (const el of find(also)?.els ?? []) say(el, el.innerText);
    return found;
  },
  async structured() {
    return [...document.querySelectorAll('script[type="application/ld+json"]')].flatMap((el) => {
      try { return [JSON.parse(el.textContent)].flat(); } catch { return []; }
    });
  },
  async snapshot({ limit }) {
    const copy = document.documentElement.cloneNode(true);
    const secret = /csrf|token|secret|auth|session|passw|nonce/i;
    const controls = [...document.documentElement.querySelectorAll('input,textarea,select')];
    for (const [n, el] of [...copy.querySelectorAll('input,textarea,select')].entries()) {
      const live = controls[n];
      if (live.type === 'password' || secret.test(live.name)) el.setAttribute('value', live.value ? '[redacted]' : '');
      else if (live.type === 'checkbox' || live.type === 'radio') el.toggleAttribute('checked', live.checked);
      else if (live.tagName === 'TEXTAREA') el.textContent = live.value;
      else if (live.tagName === 'SELECT') [...el.options].forEach((o, i) => o.toggleAttribute('selected', live.options[i].selected));
      else if (live.type !== 'file') el.setAttribute('value', live.value);
    }
    for (const el of copy.querySelectorAll('script,noscript,template,iframe,link[rel=preload],link[rel=modulepreload]')) el.remove();
    for (const el of copy.querySelectorAll('meta[name][content]')) if (secret.test(el.name)) el.content = '[redacted]';
    for (const el of copy.querySelectorAll('*')) {
      for (const { name } of [...el.attributes]) if (name.startsWith('on')) el.removeAttribute(name);
      if (el.src?.startsWith?.('data:') && el.getAttribute('src').length > 2000) el.removeAttribute('src');
    }
    let styles = '';
    for (const sheet of document.styleSheets) {
      try { for (const rule of sheet.cssRules) if (styles.length < limit / 3) styles += rule.cssText + '\n'; } catch { /* another origin's */ }
    }
    for (const el of copy.querySelectorAll('style,link[rel=stylesheet]')) el.remove();
    const style = document.createElement('style');
    style.textContent = styles;
    copy.querySelector('head')?.append(style);
    const base = document.createElement('base');
    base.href = location.href;
    copy.querySelector('head')?.prepend(base);
    return { url: location.href, title: document.title, html: ('<!doctype html>\n' + copy.outerHTML).slice(0, limit) };
  },
};

operations[request.op](request).then(
  (value) => callback({ ok: value }),
  (error) => callback(error instanceof Stop ? { stop: error.answer } : { broken: `${error.name}: ${error.message}`.slice(0, 300) }),
);
