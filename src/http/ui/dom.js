// Making and changing what is on the page. Whatever comes from a job goes through here, as text.

import { ago, full, line } from './text.js';

/** The element of this id. */
export const $ = (id) => document.getElementById(id);

/** Makes an element: attributes, `on...` listeners, children that are elements or text. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ''));
  return element;
}

/** Sets a text, unless it is the same: what does not change is not drawn, or read aloud, again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets or removes an attribute. */
export function setAttr(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** A point in time that stays as far away as it says. */
export function time(date) {
  const element = h('time');
  setTime(element, date);
  return element;
}

export function setTime(element, date) {
  setAttr(element, 'datetime', date);
  setAttr(element, 'title', date && full(date));
  setText(element, date ? ago(date) : '');
}

/** Brings all times on the page up to date. */
export function tick() {
  for (const element of document.querySelectorAll('time[datetime]')) setText(element, ago(element.dateTime));
}

/** A state, as a shape, a colour and a word. */
export function badge(state) {
  const element = h('span');
  setBadge(element, state);
  return element;
}

export function setBadge(element, state) {
  setAttr(element, 'class', `badge ${state ?? 'gone'}`);
  setText(element, state ?? 'gone');
}

/** Tells those who cannot see it what has happened. */
export const say = (text) => setText($('said'), text);

let passing;

/** A sentence at the top of the page; what is no error goes away by itself. */
export function notice(text, kind = 'error') {
  clearTimeout(passing);
  const box = $('notice');
  box.hidden = !text;
  box.dataset.kind = kind;
  setText(box.querySelector('p'), text);
  if (text && kind !== 'error') passing = setTimeout(() => notice(''), 6000);
}

/** Shows what went wrong, in the server's words. */
export function complain(e) {
  if (e.name === 'AbortError') return;
  const text = e.message || String(e);
  notice(`${text[0].toUpperCase()}${text.slice(1)}.`.replace(/\.\.$/, '.'));
}

/** Runs what a button does; meanwhile it cannot be pressed again. */
export async function busy(button, action) {
  if (button.getAttribute('aria-busy')) return;
  setAttr(button, 'aria-busy', 'true');
  try {
    notice('');
    await action();
  } catch (e) {
    complain(e);
  } finally {
    setAttr(button, 'aria-busy', null);
  }
}

/** A button; with a reason why not, one that cannot be pressed and says why. */
export function button(label, action, { why, kind, name } = {}) {
  const element = h('button', { type: 'button', class: kind, disabled: Boolean(why), title: why, 'aria-label': name }, label);
  element.addEventListener('click', () => busy(element, action));
  return element;
}

/** Asks before what cannot be undone. */
export function sure(title, text, yes) {
  const dialog = $('sure-dialog');
  setText($('sure-title'), title);
  setText($('sure-text'), text);
  setText($('sure-yes'), yes);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** Puts elements in this order, and moves none that is in its place: whoever stands on it stays there. */
export function arrange(parent, elements) {
  let next = parent.firstChild;
  for (const element of elements) {
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

/** How far a running job is, as it says itself. */
export class Bar {
  constructor() {
    this.done = h('progress', { max: 1, 'aria-label': 'Progress' });
    this.text = h('span', {});
    this.element = h('p', { class: 'far', hidden: true }, this.done, this.text);
  }

  show(progress) {
    this.element.hidden = !progress;
    if (!progress) return;
    this.done.value = progress.done;
    // 100 % is only said of what is done.
    const percent = `${Math.floor(progress.done * 100 + 1e-6)} %`;
    setText(this.text, [percent, line(progress.text)].filter(Boolean).join(' · '));
  }
}
