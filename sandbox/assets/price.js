// Prices as people of each currency write them. A price is kept as a plain decimal number: "25", "25.50".

const STYLES = {
  GBP: { before: "£", after: "", group: ",", point: "." },
  USD: { before: "$", after: "", group: ",", point: "." },
  EUR: { before: "", after: "\u00a0€", group: ".", point: "," },
  SEK: { before: "", after: "\u00a0kr", group: "\u00a0", point: "," },
};

function styleOf(currency) {
  return STYLES[currency] ?? { before: `${currency}\u00a0`, after: "", group: ",", point: "." };
}

/** "1250.50" as "£1,250.50"; cents are shown only when there are any. */
export function formatPrice(price, currency) {
  if (price === "" || price === null) return "";
  const { before, after, group, point } = styleOf(currency);
  const [whole, cents = ""] = price.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, group);
  return before + grouped + (Number(cents) ? point + cents.padEnd(2, "0") : "") + after;
}

/** What was typed as a plain decimal number, or null when it is no price. */
export function parsePrice(typed, currency) {
  const { before, after, group } = styleOf(currency);
  let text = typed.trim();
  for (const sign of [before.trim(), after.trim()]) if (sign) text = text.replace(sign, "");
  text = text.replace(/[\s\u00a0]/g, "");
  const last = Math.max(text.lastIndexOf("."), text.lastIndexOf(","));
  const tail = text.length - last - 1;
  // Three digits after the currency's own grouping sign are thousands; otherwise the last sign is the point.
  const thousands = last >= 0 && tail === 3 && (text[last] === group || text.indexOf(text[last]) !== last);
  const whole = (last < 0 || thousands ? text : text.slice(0, last)).replace(/[.,]/g, "");
  const cents = last < 0 || thousands ? "" : text.slice(last + 1);
  if (!/^\d{1,9}$/.test(whole) || !/^\d{0,2}$/.test(cents)) return null;
  const plain = whole.replace(/^0+(?=\d)/, "");
  return Number(cents) ? `${plain}.${cents.padEnd(2, "0")}` : plain;
}
