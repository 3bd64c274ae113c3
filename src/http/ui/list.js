// The list of jobs, and the queues beside it.

import { api, pathOf } from './net.js';
import { badge, button, complain, h, setAttr, setBadge, setText, setTime } from './dom.js';
import { ago, due, leases, line, now, plain, running, span, told, work } from './text.js';

const PAGE = 50;
const STATES = ['pending', 'held', 'active', 'complete', 'failed'];

// A search that finds nothing goes on through so many pages of the server's, and then says how far it came.
const MOST_PAGES = 20;

// How soon what has changed is looked at, in milliseconds, and how much of the time may go into looking.
const SOON = 150;
const PAUSES = 4;
// And how soon again when the server has asked for some rest.
const REST = 3000;

/** The address of a list: what is not given stays as it is. */
export function address(wanted) {
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  return `#/${query.size ? `?${query}` : ''}`;
}

/** A row, kept as long as its job is shown, so that whoever stands on it stays there. */
class Row {
  constructor(id, may) {
    this.may = may;
    this.link = h('a', { class: 'job', href: `#/jobs/${encodeURIComponent(id)}` });
    this.work = h('code', { class: 'work' });
    this.badge = badge('pending');
    this.outcome = h('span', { class: 'outcome' });
    this.queue = h('td', { role: 'cell', class: 'queue' });
    this.created = h('time');
    this.duration = h('td', { role: 'cell', class: 'number duration' });
    this.cancel = button('Cancel', () => api('POST', pathOf(id, '/cancel')), { name: `Cancel job ${line(id)}`, kind: 'small' });
    this.retry = button('Run again', () => api('POST', pathOf(id, '/retry')), { name: `Run again: job ${line(id)}`, kind: 'small' });
    this.element = h('tr', { role: 'row' },
      h('td', { role: 'cell', class: 'state' }, this.badge, ' ', this.outcome),
      h('th', { role: 'rowheader', scope: 'row' }, this.link, this.work),
      this.queue,
      h('td', { role: 'cell', class: 'number created' }, this.created),
      this.duration,
      h('td', { role: 'cell', class: 'steer' }, this.cancel, this.retry));
    this.element.addEventListener('click', (event) => {
      if (!event.target.closest('a, button') && !String(getSelection())) this.link.click();
    });
  }

  show(job) {
    this.job = job;
    const runs = line(work(job));
    setText(this.link, job.name ? `${line(job.id)} · ${line(job.name)}` : line(job.id));
    setText(this.work, runs.slice(0, 300));
    setBadge(this.badge, job.state);
    setText(this.outcome, told(job));
    setAttr(this.outcome, 'title', job.waiting ? plain(job.waiting.text) : null);
    setAttr(this.link, 'title', this.link.textContent);
    setText(this.queue, line(job.queue ?? 'default'));
    setTime(this.created, job.created_at);
    const steers = this.may('push');
    this.cancel.hidden = !steers || !['pending', 'held', 'active'].includes(job.state);
    this.retry.hidden = !steers || job.state !== 'failed';
    this.tick();
  }

  tick() {
    const { state, started_at: started, duration } = this.job;
    const runs = state === 'active' && started;
    const later = due(this.job);
    const text = runs ? running((now() - Date.parse(started)) / 1000) : later ? ago(later) : duration === undefined ? '' : span(duration);
    setText(this.duration, text);
  }
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
    this.element = h('li', {}, this.link, this.count,
      h('label', { class: 'slots' }, 'slots', this.slots), this.toggle);
  }

  show({ paused, slots }, count, wanted, changed) {
    this.paused = paused;
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

/** Puts elements in this order, and moves none that is in its place: whoever stands on it stays there. */
function arrange(parent, elements) {
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

/** The view. `wanted`: what the address asks for; `may(right)`: what the caller may do. */
export class List {
  title = 'Jobs';

  constructor(wanted, may) {
    Object.assign(this, { may, rows: new Map(), queues: new Map(), closed: false, signal: new AbortController() });
    this.search = h('input', { type: 'search', id: 'search', placeholder: 'Search id, name, tag, URL', 'aria-label': 'Search by id, name, tag, comment or URL', 'aria-keyshortcuts': '/', spellcheck: 'false', autocomplete: 'off' });
    this.search.addEventListener('input', () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.go({ search: this.search.value.trim() }), 250);
    });
    this.tabs = h('nav', { class: 'tabs', 'aria-label': 'State' }, ['', ...STATES].map((name) => h('a', { 'data-state': name }, name || 'all')));
    this.body = h('tbody', { role: 'rowgroup' });
    this.count = h('p', { class: 'quiet', role: 'status' });
    this.empty = h('p', { class: 'empty', hidden: true });
    this.newest = h('a', { class: 'button' }, '← First page');
    this.older = h('a', { class: 'button', hidden: true }, 'Next page →');
    this.list = h('ul', {});
    this.hint = h('p', { class: 'quiet', hidden: may('admin') }, 'Changing queues needs the right “admin”.');
    this.remote = h('p', { class: 'quiet remote', hidden: true });
    const column = (text, kind) => h('th', { role: 'columnheader', scope: 'col', class: kind }, text);
    this.table = h('table', { role: 'table', class: 'jobs', 'aria-label': 'Jobs' },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, column('State'), column('Job'), column('Queue'), column('Created', 'number'), column('Duration', 'number'), column(h('span', { class: 'unseen' }, 'Steer')))),
      this.body);
    this.element = h('div', { class: 'list' },
      h('section', { class: 'queues', 'aria-label': 'Queues' }, h('h2', {}, 'Queues'), this.list, this.hint, this.remote),
      h('section', { class: 'all', 'aria-labelledby': 'title' },
        h('div', { class: 'bar' }, h('h1', { id: 'title', tabindex: -1 }, 'Jobs'), this.tabs, this.search),
        this.table, this.empty,
        h('div', { class: 'bar foot' }, this.count, this.newest, this.older)));
    this.clock = setInterval(() => this.rows.forEach((row) => row.tick()), 1000);
    this.become(wanted);
  }

  close() {
    this.closed = true;
    this.signal.abort();
    clearInterval(this.clock);
    clearTimeout(this.typing);
    clearTimeout(this.later);
  }

  /** Another list, without another step in the history for each letter. */
  go(change) {
    location.replace(address({ ...this.wanted, after: '', ...change }));
  }

  /** The same view, of another list. */
  become(wanted) {
    this.wanted = wanted;
    for (const tab of this.tabs.children) {
      setAttr(tab, 'href', address({ ...wanted, after: '', state: tab.dataset.state }));
      setAttr(tab, 'aria-current', (wanted.state ?? '') === tab.dataset.state ? 'true' : null);
    }
    this.newest.href = address({ ...wanted, after: '' });
    this.newest.hidden = !wanted.after;
    if (document.activeElement !== this.search) this.search.value = wanted.search ?? '';
    this.signal.abort();
    this.signal = new AbortController();
    this.look();
  }

  /** Something has changed. */
  stir() {
    if (this.looking) this.again = true;
    else if (!this.closed && !this.later) this.later = setTimeout(() => this.look(), SOON);
  }

  async look() {
    clearTimeout(this.later);
    this.later = null;
    const { signal } = this.signal;
    this.looking = signal;
    this.again = false;
    const start = performance.now();
    try {
      const [page, queues, { remote }] = await Promise.all([this.page(signal), api('GET', '/v1/queues', { signal }), api('GET', '/v1/remote', { signal })]);
      if (this.closed || this.looking !== signal) return;
      this.showQueues(queues);
      this.remote.hidden = !remote.length;
      setText(this.remote, remote.map(leases).join('; '));
      this.showJobs(page);
    } catch (e) {
      if (this.closed || e.name === 'AbortError') return;
      // Without an answer, what is shown stays; the stream of events tells when there is one again.
      if (e.status >= 400 && e.status < 500) this.showNothing(e);
      else if (e.status) this.again = 'later';
    }
    if (this.looking !== signal) return;
    const least = this.again === 'later' ? REST : SOON;
    const pause = Math.max(least, PAUSES * (performance.now() - start));
    this.looking = null;
    if (this.again) this.later = setTimeout(() => this.look(), pause);
  }

  async page(signal) {
    const { state, search, queue } = this.wanted;
    const page = { jobs: [], next: this.wanted.after || null };
    for (let n = 0; n < MOST_PAGES && (n === 0 || page.next); n += 1) {
      const query = new URLSearchParams({ reverse: 'true', limit: PAGE - page.jobs.length });
      for (const [key, value] of Object.entries({ state, search, queue, after: page.next })) if (value) query.set(key, value);
      const more = await api('GET', `/v1/jobs?${query}`, { signal });
      page.jobs.push(...more.jobs);
      page.next = more.next;
      if (page.jobs.length >= PAGE || !(search || queue)) break;
    }
    return page;
  }

  showJobs({ jobs, next }) {
    const rows = new Map();
    for (const job of jobs) {
      const row = this.rows.get(job.id) ?? new Row(job.id, this.may);
      row.show(job);
      rows.set(job.id, row);
    }
    const lost = [...this.rows.values()].find((row) => row.element.contains(document.activeElement) && !rows.has(row.job.id));
    arrange(this.body, [...rows.values()].map((row) => row.element));
    this.rows = rows;
    if (lost) this.body.querySelector('a.job')?.focus();
    const { state, search, queue, after } = this.wanted;
    const some = rows.size > 0;
    const narrow = state || search || queue;
    setText(this.count, some ? `${rows.size} ${rows.size === 1 ? 'job' : 'jobs'}${next ? ', and more' : after ? ', to the last' : ''}` : '');
    setText(this.empty, next && !some ? `Nothing found as far as ${line(next)}.` : narrow || after ? 'No such jobs.' : 'No jobs yet. Drop a file into pending/, or push one here.');
    this.table.hidden = !some;
    this.empty.hidden = some;
    this.older.hidden = !next;
    if (next) this.older.href = address({ ...this.wanted, after: next });
  }

  showQueues({ queues, active, paused, slots }) {
    const kept = new Map();
    const waiting = queues.reduce((sum, queue) => sum + queue.waiting, 0);
    const of = (name) => {
      kept.set(name, this.queues.get(name) ?? new Queue(name, this.may));
      return kept.get(name);
    };
    const changed = () => this.stir();
    of(null).show({ paused, slots }, `${active} active, ${waiting} pending`, this.wanted, changed);
    for (const queue of queues) of(queue.name).show(queue, queue.paused ? `${queue.waiting} pending, paused` : `${queue.waiting} pending`, this.wanted, changed);
    arrange(this.list, [...kept.values()].map((queue) => queue.element));
    this.queues = kept;
    if (paused) setText(kept.get(null).count, `${active} active, ${waiting} pending, paused`);
  }

  showNothing(e) {
    this.table.hidden = true;
    this.older.hidden = true;
    setText(this.count, '');
    this.empty.hidden = false;
    setText(this.empty, e.status === 401 || e.status === 403 ? `Nothing can be shown: ${e.message}.` : `${e.message}.`);
  }

  /** The next or previous job. */
  step(by) {
    const links = [...this.body.querySelectorAll('a.job')];
    const at = links.indexOf(document.activeElement?.closest('tr')?.querySelector('a.job'));
    links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by))]?.focus();
  }

  /** Back on the job that one came from. */
  land(id) {
    this.rows.get(id)?.link.focus();
  }
}
