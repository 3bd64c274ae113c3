// One job: what it is, what came of it, and what can be done to it.

import { api, pathOf } from './net.js';
import { Bar, badge, button, h, notice, say, setBadge, setText, sure, time } from './dom.js';
import { Log } from './log.js';
import { bytes, line, outcome, plain, span, work } from './text.js';

const list = (items) => h('span', {}, items.map((item) => h('span', { class: 'tag' }, line(item))));
const links = (ids) => h('span', {}, ids.map((id) => h('a', { class: 'tag', href: `#/jobs/${encodeURIComponent(id)}` }, line(id))));
const textOf = (value) => (typeof value === 'object' ? JSON.stringify(value) : String(value));

/** Tokens, as `gpu 2, licence 1`. */
const amounts = (uses) => Object.entries(uses).map(([name, n]) => `${line(name)} ${n}`).join(', ');

/** The queue on another server that a job came from. */
const origin = ({ lease }) => `${line(String(lease.queue))} (${line(String(lease.engine))}), receive ${line(String(lease.count))}`;

/** What goes with a call. */
const extra = (job) => [
  ...Object.entries(job.headers ?? {}).map(([name, value]) => `${name}: ${value}`),
  ...(job.payload === undefined ? [] : ['', JSON.stringify(job.payload, null, 2)]),
];

// The fields of a record that stand before all of it, in this order.
const FACTS = [
  ['comment', 'Comment'],
  ['tags', 'Tags', list],
  ['queue', 'Queue'],
  ['priority', 'Priority'],
  ['group', 'Group'],
  ['slots', 'Slots'],
  ['use', 'Uses', amounts],
  ['units', 'Units', (units) => Object.entries(units).map(([name, list]) => `${line(name)} ${line(list.join(', '))}`).join('; ')],
  ['x', 'From', origin],
  ['after', 'After', links],
  ['after_failed', 'After failure of', links],
  ['after_any', 'After any end of', links],
  ['cwd', 'Directory'],
  ['not_before', 'Not before', time],
  ['expires', 'Expires', time],
  ['timeout', 'Timeout', (value) => (typeof value === 'number' ? span(value) : value)],
  ['created_at', 'Created', time],
  ['started_at', 'Started', time],
  ['finished_at', 'Finished', time],
  ['retry_at', 'Next try', time],
  ['duration', 'Duration', span],
  ['exit_code', 'Exit code'],
  ['signal', 'Signal'],
  ['attempt', 'Tries'],
  ['interruptions', 'Interruptions'],
  ['cpu', 'CPU time', span],
  ['max_rss', 'Peak memory', bytes],
  ['sandbox', 'Sandbox', textOf],
  ['resources', 'Limits', textOf],
  ['sandboxed', 'Held by', textOf],
  ['callback_url', 'Callback'],
];

// How often it is asked how far a running job is, in milliseconds.
const BEAT = 2000;

export class Detail {
  constructor(id, may) {
    Object.assign(this, { id, may, closed: false, removing: false });
    this.title = line(id);
    this.heading = h('h1', { id: 'title', tabindex: -1 }, line(id));
    this.badge = badge('pending');
    this.outcome = h('span', { class: 'outcome' });
    this.work = h('pre', { class: 'work', hidden: true });
    this.actions = h('div', { class: 'actions', role: 'group', 'aria-label': 'Steer' });
    this.why = h('p', { class: 'quiet', hidden: true });
    this.error = h('p', { class: 'wrong', hidden: true });
    this.bar = new Bar();
    this.facts = h('dl', { class: 'facts' });
    this.result = h('section', { hidden: true }, h('h2', {}, 'Result'), h('pre', { class: 'log' }));
    this.output = h('section', { class: 'wide', 'aria-labelledby': 'output' }, h('h2', { id: 'output' }, 'Output'));
    this.tries = h('section', { hidden: true }, h('h2', {}, 'Tries'));
    this.record = h('pre', { class: 'log', tabindex: 0 });
    this.whole = h('details', { class: 'wide' }, h('summary', {}, 'Record'), this.record);
    this.parts = h('div', { class: 'parts' },
      h('section', {}, this.facts, this.result, this.tries), this.output, this.whole);
    this.element = h('article', { class: 'detail', 'aria-labelledby': 'title' },
      h('p', {}, h('a', { href: '#/', class: 'back' }, '← Jobs')),
      h('div', { class: 'bar head' }, this.heading, this.badge, this.outcome),
      this.work, this.bar.element, this.error, this.actions, this.why, this.parts);
    this.logs = [];
    // How far a job is, is no event.
    this.pulse = setInterval(() => !document.hidden && this.job?.state === 'active' && this.stir(), BEAT);
    this.look();
  }

  close() {
    this.closed = true;
    clearTimeout(this.later);
    clearInterval(this.pulse);
    this.logs.forEach((log) => log.close());
  }

  /** Something has happened to a job, or perhaps to any. */
  stir(id) {
    if (this.closed || this.removing || (id !== undefined && id !== this.id)) return;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.look(), 80);
  }

  async look() {
    try {
      const job = await api('GET', pathOf(this.id));
      if (!this.closed) this.show(job);
    } catch (e) {
      if (!this.closed && e.status >= 400 && e.status < 500) this.gone(e);
    }
  }

  gone(e) {
    const had = this.job;
    setBadge(this.badge, null);
    setText(this.outcome, '');
    this.actions.replaceChildren();
    this.why.hidden = true;
    this.error.hidden = false;
    setText(this.error, e.status === 404 ? (had ? 'This job is gone: its record was removed.' : 'There is no job of this name.') : `${e.message}.`);
    if (!had) this.parts.hidden = true;
    this.job = null;
  }

  show(job) {
    const before = this.job?.state;
    this.job = job;
    this.parts.hidden = false;
    if (before && before !== job.state) say(`Job ${line(job.id)} is ${job.state}`);
    this.title = [line(job.id), job.name && line(job.name)].filter(Boolean).join(' · ');
    document.title = `${this.title} · pirn`;
    setText(this.heading, this.title);
    setBadge(this.badge, job.state);
    setText(this.outcome, job.waiting ? plain(job.waiting.text) : outcome(job));
    this.work.hidden = false;
    setText(this.work, plain([work(job), ...extra(job)].join('\n')));
    this.bar.show(job.progress);
    this.error.hidden = !job.error;
    setText(this.error, job.error ? plain(job.error) : '');
    this.showActions(job);
    this.showFacts(job);
    this.result.hidden = job.result === undefined;
    setText(this.result.lastChild, plain(job.result ?? ''));
    this.showTries(job.attempts ?? []);
    setText(this.record, plain(JSON.stringify(job, null, 2)));
    this.showLogs(job);
  }

  showActions(job) {
    const may = this.may('push');
    const key = `${job.state} ${may} ${this.may('run')} ${job.queue}`;
    if (this.shown === key && this.actions.childElementCount) return;
    this.shown = key;
    const had = this.actions.contains(document.activeElement);
    const why = may ? '' : 'Steering jobs needs the right “push”.';
    const act = (verb, done) => async () => {
      await api('POST', pathOf(this.id, `/${verb}`));
      say(done);
      await this.look();
    };
    const copy = async () => {
      const made = await api('POST', pathOf(this.id, '/copy'));
      location.hash = `#/jobs/${encodeURIComponent(made.id)}`;
      notice(`This is the copy; the job that it was made of is ${line(this.id)}.`, 'done');
    };
    const whyNoCopy = why || (job.command !== undefined && !this.may('run') ? 'A copy of a command needs the right “run”.' : '');
    const remove = async () => {
      const runs = job.state === 'active';
      const what = { pending: 'It will not run.', held: 'It will not run.', active: 'It is ended, and its record and log are removed.' };
      const text = what[job.state] ?? 'Its record and its log are removed.';
      if (!(await sure(`Delete job ${line(this.id)}?`, `${text} This cannot be undone.`, runs ? 'End and delete' : 'Delete'))) return;
      // Nothing is asked about a job while it goes.
      this.removing = true;
      clearTimeout(this.later);
      try {
        await api('DELETE', pathOf(this.id, runs ? '?kill=true' : ''));
      } finally {
        this.removing = false;
      }
      location.hash = '#/';
      notice(`Job ${line(this.id)} is deleted.`, 'done');
    };
    const open = ['pending', 'held', 'active'].includes(job.state);
    this.actions.replaceChildren(...[
      open && button('Cancel', act('cancel', 'Cancelled'), { why }),
      job.state === 'pending' && button('Run next', act('urgent', 'It runs next'), { why }),
      job.state === 'pending' && button('Hold', act('hold', 'Held'), { why }),
      job.state === 'held' && button('Release', act('release', 'Released'), { why }),
      !open && button('Run again', act('retry', 'It runs again'), { why }),
      !open && button('Run a copy', copy, { why: whyNoCopy }),
      button('Delete', remove, { why, kind: 'danger' }),
    ].filter(Boolean));
    if (had) (this.actions.querySelector('button:enabled') ?? this.heading).focus();
    const said = why || whyNoCopy;
    this.why.hidden = !said || (open && !why);
    setText(this.why, said);
  }

  showFacts(job) {
    const facts = FACTS.filter(([key]) => (key === 'x' ? job.x?.lease : job[key]) !== undefined && !(key === 'attempt' && job.attempt === 1));
    this.facts.replaceChildren(...facts.map(([key, label, show]) => {
      const value = show ? show(job[key]) : line(textOf(job[key]));
      return h('div', {}, h('dt', {}, label), h('dd', { class: `fact-${key}` }, value));
    }));
  }

  showTries(tries) {
    this.tries.hidden = tries.length < 2;
    if (tries.length < 2) return;
    const column = (text, kind) => h('th', { scope: 'col', class: kind }, text);
    const row = (one, i) => h('tr', {},
      h('td', {}, String(one.attempt ?? i + 1)),
      h('td', {}, one.started_at ? time(one.started_at) : ''),
      h('td', {}, outcome(one) || 'well'),
      h('td', { class: 'number' }, one.duration === undefined ? '' : span(one.duration)));
    const table = h('table', {},
      h('thead', {}, h('tr', {}, column('Try'), column('Started'), column('Ended'), column('Duration', 'number'))),
      h('tbody', {}, tries.map(row)));
    this.tries.replaceChildren(this.tries.firstChild, table);
  }

  showLogs(job) {
    const streams = job.split ? ['stdout', 'stderr'] : ['stdout'];
    const open = ['pending', 'held', 'active'].includes(job.state);
    if (this.logs.length !== streams.length) {
      this.logs.forEach((log) => log.close());
      this.logs = streams.map((stream) => new Log(this.id, stream));
      const named = this.logs.map((log, i) => (job.split ? h('h3', {}, streams[i]) : null));
      this.output.replaceChildren(this.output.firstChild, ...this.logs.flatMap((log, i) => [named[i], log.element]).filter(Boolean));
    } else if (open && this.logs.every((log) => log.isOver)) {
      // It runs again.
      this.logs.forEach((log) => log.start());
    }
  }
}
