// The spool as a whole: its slots and tokens, what keeps it from working, and its queues.

import { api } from './net.js';
import { arrange, button, complain, h, setAttr, setText } from './dom.js';
import { count, leases, line, plain } from './text.js';

/** The address of a list: what is not given stays as it is. */
export function address(wanted) {
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  return `#/${query.size ? `?${query}` : ''}`;
}

/** A queue, or all of them together. */
class Queue {
  constructor(name, may) {
    const path = name === null ? '/v1/queues' : `/v1/queues/${encodeURIComponent(name)}`;
    const all = name === null ? 'everything' : `queue ${line(name)}`;
    const why = may('admin') ? '' : 'Changing queues needs the right "admin".';
    const whyNoPause = why || (name === 'default' ? 'The file pending/.paused pauses all queues; a setting pauses this one: queues.default.paused.' : '');
    const change = (body) => api('PATCH', path, { body }).then(() => this.changed?.());
    this.may = may;
    this.name = name;
    this.link = h('a', {}, name === null ? 'All queues' : line(name));
    this.count = h('span', { class: 'count' });
    this.toggle = button('Pause', () => change({ paused: !this.paused }), { why: whyNoPause, kind: 'small' });
    this.slots = h('input', { type: 'number', min: 0, max: 10000, placeholder: name === null ? 'auto' : 'any', disabled: Boolean(why), title: why || 'Jobs at a time; empty: no bound', 'aria-label': `Slots of ${all}` });
    this.slots.addEventListener('change', () => {
      if (!this.slots.checkValidity()) return this.slots.reportValidity();
      change({ slots: this.slots.value === '' ? null : Number(this.slots.value) }).catch((e) => {
        complain(e);
        this.changed?.();
      });
    });
    this.all = all;
    this.used = h('span', {});
    this.element = h('li', {}, this.link, this.toggle, this.count,
      h('label', { class: 'slots' }, this.used, this.slots, 'slots'));
  }

  show({ paused, slots, used }, count, wanted, changed) {
    this.paused = paused;
    setText(this.used, `${used} of`);
    this.changed = changed;
    setText(this.count, count);
    setText(this.toggle, paused ? 'Resume' : 'Pause');
    setAttr(this.toggle, 'aria-label', `${paused ? 'Resume' : 'Pause'} ${this.all}`);
    setAttr(this.element, 'data-paused', paused || null);
    setAttr(this.link, 'href', address({ ...wanted, after: '', queue: this.name ?? '' }));
    setAttr(this.link, 'aria-current', (wanted.queue || null) === this.name ? 'true' : null);
    const value = slots === null ? '' : String(slots);
    if (document.activeElement !== this.slots && this.slots.value !== value) this.slots.value = value;
  }
}

/** Builds the content of an element anew if what it shows has changed. */
function build(element, facts, children) {
  const key = JSON.stringify(facts);
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.replaceChildren(...children());
}

/** What is in use, of how many there are. */
const meter = ({ name, used, total }) =>
  h('li', { 'data-full': used >= total },
    h('span', {}, name), h('progress', { max: total || 1, value: Math.min(used, total), 'aria-label': `${name} in use` }),
    h('span', { class: 'number' }, `${used} of ${total}`));

/** The spool as a whole, in three parts that the view puts in their places. */
export class Overview {
  constructor(may) {
    Object.assign(this, { may, queues: new Map() });
    this.troubles = h('div', { class: 'troubles', role: 'status' });
    this.meters = h('ul', { class: 'meters', 'aria-label': 'In use' });
    this.list = h('ul', {});
    this.remote = h('p', { class: 'quiet remote', hidden: true });
    this.card = h('section', { class: 'queues', 'aria-label': 'Queues' },
      h('h2', {}, 'Queues'), this.list,
      h('p', { class: 'quiet', hidden: may('admin') }, 'Changing queues needs the right “admin”.'), this.remote);
  }

  show(spool, { remote }, wanted, changed) {
    this.showTroubles(spool, changed);
    const slots = { name: 'slots', used: spool.used, total: spool.slots };
    const meters = [slots, ...spool.tokens];
    build(this.meters, meters, () => meters.map(meter));
    this.showQueues(spool, wanted, changed);
    this.remote.hidden = !remote.length;
    setText(this.remote, remote.map(leases).join('; '));
  }

  showTroubles({ paused, config_error: config, shortage, trouble }, changed) {
    const resume = () => api('PATCH', '/v1/queues', { body: { paused: false } }).then(changed);
    const why = this.may('admin') ? '' : 'Changing queues needs the right “admin”.';
    build(this.troubles, { paused, config, shortage, trouble }, () => [
      trouble && h('p', {}, `The daemon is in trouble: ${plain(trouble)}.`),
      shortage && h('p', {}, `Nothing is accepted or started: ${plain(shortage)}.`),
      config && h('p', {}, `${plain(config)}. The earlier settings stay in force.`),
      paused && h('p', { class: 'paused' }, h('span', {}, 'All queues are paused: no job is started.'), button('Resume', resume, { why })),
    ].filter(Boolean));
  }

  showQueues({ queues, paused, slots, used }, wanted, changed) {
    const kept = new Map();
    const of = (name) => {
      kept.set(name, this.queues.get(name) ?? new Queue(name, this.may));
      return kept.get(name);
    };
    const waiting = queues.reduce((sum, queue) => sum + queue.waiting, 0);
    const said = (text, isPaused) => (isPaused ? `${text}, paused` : text);
    of(null).show({ paused, slots, used }, said(`${count(waiting)} pending`, paused), wanted, changed);
    for (const queue of queues) of(queue.name).show(queue, said(`${count(queue.waiting)} pending`, queue.paused), wanted, changed);
    arrange(this.list, [...kept.values()].map((queue) => queue.element));
    this.queues = kept;
  }
}
