// The list of jobs, with the queues beside it.

import { api, pathOf } from './net.js';
import { Bar, arrange, badge, button, h, setAttr, setBadge, setText, setTime } from './dom.js';
import { Overview, address } from './queues.js';
import { ago, count, due, line, now, plain, reason, running, span, told, work } from './text.js';

const PAGE = 50;
// In the order in which they want to be looked at.
const STATES = ['active', 'pending', 'held', 'failed', 'complete'];
// The numbers of these jobs are known; there may be very many of the others.
const COUNTED = ['pending', 'held', 'active'];

// So many running jobs are shown before the others.
const MOST_RUNNING = 100;

// A search that finds nothing goes on through so many pages of the server's, and then says how far it came.
const MOST_PAGES = 5;

// How soon what has changed is looked at, in milliseconds, and how much of the time may go into looking.
const SOON = 150;
const PAUSES = 4;
// And how soon again when the server has asked for some rest.
const REST = 3000;
// How often it is asked how far jobs are, in milliseconds; most of them have nothing to tell, and are asked less often.
const BEAT = 2000;
const SLOW = 5;

/** A query of these parameters; those without a value are left out. */
const query = (parameters) => new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));

/** A row, kept as long as its job is shown, so that whoever stands on it stays there. */
class Row {
  constructor(id, may) {
    this.may = may;
    this.link = h('a', { class: 'job', href: `#/jobs/${encodeURIComponent(id)}` });
    this.work = h('code', { class: 'work' });
    this.why = h('p', { class: 'why' });
    this.bar = new Bar();
    this.badge = badge('pending');
    this.outcome = h('span', { class: 'outcome' });
    this.queue = h('td', { role: 'cell', class: 'queue' });
    this.created = h('time');
    this.duration = h('td', { role: 'cell', class: 'number duration' });
    this.cancel = button('Cancel', () => api('POST', pathOf(id, '/cancel')), { name: `Cancel job ${line(id)}`, kind: 'small' });
    this.retry = button('Run again', () => api('POST', pathOf(id, '/retry')), { name: `Run again: job ${line(id)}`, kind: 'small' });
    this.element = h('tr', { role: 'row' },
      h('td', { role: 'cell', class: 'state' }, this.badge, ' ', this.outcome),
      h('th', { role: 'rowheader', scope: 'row' }, this.link, this.work, this.bar.element, this.why),
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
    setText(this.why, reason(job));
    this.bar.show(job.progress);
    setAttr(this.element, 'data-state', job.state);
    setAttr(this.link, 'title', this.link.textContent);
    setText(this.queue, line(job.queue ?? 'default'));
    setAttr(this.queue, 'title', this.queue.textContent);
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

/** The view. `wanted`: what the address asks for; `may(right)`: what the caller may do. */
export class List {
  title = 'Jobs';

  constructor(wanted, may) {
    Object.assign(this, { may, rows: new Map(), closed: false, signal: new AbortController(), beats: 0 });
    this.overview = new Overview(may);
    this.search = h('input', { type: 'search', id: 'search', placeholder: 'Search name, command, URL, tag', 'aria-label': 'Search by id, name, command, tag, comment or URL', 'aria-keyshortcuts': '/', spellcheck: 'false', autocomplete: 'off' });
    this.search.addEventListener('input', () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.go({ search: this.search.value.trim() }), 250);
    });
    this.tabs = h('nav', { class: 'tabs', 'aria-label': 'State' }, ['', ...STATES].map((name) => h('a', { 'data-state': name }, name || 'all', COUNTED.includes(name) ? h('span', { class: 'sum' }) : null)));
    this.body = h('tbody', { role: 'rowgroup' });
    this.count = h('p', { class: 'quiet', role: 'status' });
    this.empty = h('p', { class: 'empty', hidden: true });
    this.first = h('p', { class: 'empty first', hidden: true }, h('strong', {}, 'No jobs yet'),
      'Drop a file into ', h('code', {}, 'pending/'), ', type ', h('code', {}, 'pirn add COMMAND'), ', or press “New job”.');
    this.newest = h('a', { class: 'button' }, '← First page');
    this.older = h('a', { class: 'button', hidden: true }, 'Next page →');
    const column = (text, kind) => h('th', { role: 'columnheader', scope: 'col', class: kind }, text);
    this.table = h('table', { role: 'table', class: 'jobs', 'aria-label': 'Jobs' },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, column('State'), column('Job'), column('Queue'), column('Created', 'number'), column('Duration', 'number'), column(h('span', { class: 'unseen' }, 'Steer')))),
      this.body);
    const { troubles, meters, card } = this.overview;
    this.element = h('div', { class: 'list' }, troubles,
      h('section', { class: 'all', 'aria-labelledby': 'title' },
        h('div', { class: 'bar' }, h('h1', { id: 'title', tabindex: -1 }, 'Jobs'), this.tabs, this.search),
        meters, this.table, this.empty, this.first,
        h('div', { class: 'bar foot' }, this.count, this.newest, this.older)),
      card);
    this.pulse = setInterval(() => this.beat(), BEAT);
    this.clock = setInterval(() => this.rows.forEach((row) => row.tick()), 1000);
    this.become(wanted);
  }

  close() {
    this.closed = true;
    this.signal.abort();
    clearInterval(this.clock);
    clearInterval(this.pulse);
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
      const [page, queues, remote] = await Promise.all([this.page(signal), api('GET', '/v1/queues', { signal }), api('GET', '/v1/remote', { signal })]);
      if (this.closed || this.looking !== signal) return;
      this.overview.show(queues, remote, this.wanted, () => this.stir());
      this.showCounts(queues);
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

  /** The running jobs first, which are few; then the others, from the newest on. The next of those that wait are the oldest. */
  async page(signal) {
    const { state, after } = this.wanted;
    if (state) return this.pages(signal, { state, reverse: state !== 'pending' });
    const others = this.pages(signal, { state: STATES.filter((one) => one !== 'active'), reverse: true });
    if (after) return others;
    const [{ jobs: first }, { jobs, next }] = await Promise.all([this.running(signal), others]);
    // A job may have begun or ended between the two.
    return { jobs: [...first, ...jobs.filter(({ id }) => !first.some((job) => job.id === id))], next };
  }

  running(signal) {
    const { search, queue } = this.wanted;
    return api('GET', `/v1/jobs?${query({ state: 'active', search, queue, reverse: true, limit: MOST_RUNNING })}`, { signal });
  }

  async pages(signal, which) {
    const { search, queue } = this.wanted;
    const page = { jobs: [], next: this.wanted.after || null };
    for (let n = 0; n < MOST_PAGES && (n === 0 || page.next); n += 1) {
      const more = await api('GET', `/v1/jobs?${query({ ...which, search, queue, after: page.next, limit: PAGE - page.jobs.length })}`, { signal });
      page.jobs.push(...more.jobs);
      page.next = more.next;
      if (page.jobs.length >= PAGE || !(search || queue)) break;
    }
    return page;
  }

  /** Asks how far the running jobs are: that is no event. */
  async beat() {
    const rows = [...this.rows.values()].filter((row) => row.job.state === 'active');
    this.beats += 1;
    if (document.hidden || this.looking || !rows.length) return;
    if (this.beats % SLOW && !rows.some((row) => row.job.progress)) return;
    const { jobs } = await this.running(this.signal.signal).catch(() => ({ jobs: [] }));
    for (const job of jobs) if (this.rows.get(job.id)?.job.state === 'active') this.rows.get(job.id).show(job);
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
    setText(this.empty, next && !some ? `Nothing found as far as ${line(next)}.` : 'No such jobs.');
    this.table.hidden = !some;
    this.first.hidden = some || narrow || after;
    this.empty.hidden = some || !this.first.hidden;
    this.older.hidden = !next;
    if (next) this.older.href = address({ ...this.wanted, after: next });
  }

  showCounts({ queues, active, held }) {
    const counts = { pending: queues.reduce((sum, queue) => sum + queue.waiting, 0), held, active };
    for (const tab of this.tabs.querySelectorAll('[data-state]:has(.sum)')) {
      const n = counts[tab.dataset.state];
      setText(tab.lastChild, n ? count(n) : '');
    }
  }

  showNothing(e) {
    this.table.hidden = true;
    this.first.hidden = true;
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
