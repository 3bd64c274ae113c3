// A new job.

import { api } from './net.js';
import { busy, complain, h, notice } from './dom.js';
import { line } from './text.js';

/** One argument a line. */
const lines = (text) => text.split('\n').filter((one) => one !== '');

const field = (label, input, hint) =>
  h('label', { class: 'field' }, h('span', {}, label), input, hint ? h('small', {}, hint) : null);

export class NewJob {
  title = 'New job';

  constructor(may) {
    this.may = may;
    const input = (name, props) => h('input', { name, spellcheck: 'false', autocomplete: 'off', ...props });
    this.command = h('textarea', { name: 'command', rows: 4, spellcheck: 'false', autocomplete: 'off', autocapitalize: 'off', placeholder: 'make -C /src test' });
    this.script = h('select', { name: 'script' });
    this.args = h('textarea', { name: 'args', rows: 3, spellcheck: 'false' });
    this.url = h('input', { name: 'url', type: 'url', spellcheck: 'false', autocomplete: 'off', placeholder: 'http://127.0.0.1:8000/work' });
    this.payload = h('textarea', { name: 'payload', rows: 5, spellcheck: 'false', placeholder: '{"key": "value"}' });
    this.headers = h('textarea', { name: 'headers', rows: 2, spellcheck: 'false', placeholder: 'X-Name: value' });
    this.json = h('textarea', { name: 'json', rows: 10, spellcheck: 'false' }, '{\n  "command": ["echo", "hello"]\n}');
    this.queue = input('queue', { list: 'queues', placeholder: 'default' });
    this.queues = h('datalist', { id: 'queues' });
    this.fields = h('div', { class: 'fields' },
      field('Name', input('name', {})),
      field('Queue', this.queue), this.queues,
      field('Tags', input('tags', {}), 'separated by commas'),
      field('Priority', input('priority', { type: 'number', step: 1, placeholder: '0' }), 'higher goes first'),
      field('Timeout', input('timeout', { placeholder: 'none' }), 'such as 90s, 1h 30m'),
      field('Tries', input('tries', { type: 'number', min: 1, max: 1000000, placeholder: '1' })),
      field('Comment', input('comment', {})));
    this.wrong = h('p', { class: 'wrong', role: 'alert', hidden: true });
    const why = may('push') ? '' : 'Starting jobs needs the right “push”.';
    this.submit = h('button', { type: 'submit', class: 'primary', disabled: Boolean(why), title: why }, 'Run it');
    const reasons = { command: may('run') ? '' : 'run', script: may('push') ? '' : 'push', url: may('push') ? '' : 'push', json: may('push') ? '' : 'push' };
    const kind = (name, label) => h('label', { title: reasons[name] && `Needs the right “${reasons[name]}”.` },
      h('input', { type: 'radio', name: 'kind', value: name, disabled: Boolean(reasons[name]) }), label);
    this.parts = {
      command: field('Command', this.command, 'run by sh; with #! in the first line, by its own interpreter'),
      script: h('div', {}, field('Script', this.script, 'from scripts/'), field('Arguments', this.args, 'one a line')),
      url: h('div', {}, field('URL', this.url), field('Payload', this.payload, 'JSON, sent there by POST'), field('Header', this.headers, 'one field a line')),
      json: field('Record', this.json, 'as in a file in pending/; see pirn-spool(5)'),
    };
    this.form = h('form', { class: 'new', novalidate: true },
      h('fieldset', { class: 'tabs' }, h('legend', { class: 'unseen' }, 'What to run'), kind('command', 'Command'), kind('script', 'Script'), kind('url', 'URL'), kind('json', 'Record')),
      ...Object.values(this.parts), this.fields, this.wrong,
      h('div', { class: 'actions' }, this.submit, h('a', { class: 'button', href: '#/' }, 'Back')));
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      // Only what is seen can be wrong.
      const odd = [...this.form.elements].find((one) => one.checkVisibility() && !one.checkValidity());
      if (odd) odd.reportValidity();
      else busy(this.submit, () => this.push());
    });
    this.form.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.form.requestSubmit(this.submit);
    });
    this.form.addEventListener('change', (event) => event.target.name === 'kind' && this.choose(event.target.value));
    const limits = !may('push') ? 'Starting jobs needs the right “push”.'
      : !may('run') ? 'You may start what is in scripts/. Any other command needs the right “run”.' : '';
    this.element = h('article', { class: 'detail', 'aria-labelledby': 'title' },
      h('p', {}, h('a', { href: '#/', class: 'back' }, '← Jobs')),
      h('h1', { id: 'title', tabindex: -1 }, 'New job'),
      limits ? h('p', { class: 'quiet' }, limits) : null, this.form);
    this.choose(may('run') ? 'command' : 'script');
    this.look();
  }

  close() {
    this.closed = true;
  }

  stir() {}

  choose(kind) {
    this.kind = kind;
    this.form.elements.kind.value = kind;
    for (const [name, part] of Object.entries(this.parts)) part.hidden = name !== kind;
    this.fields.hidden = kind === 'json';
  }

  async look() {
    try {
      const [{ scripts }, { queues }] = await Promise.all([api('GET', '/v1/scripts'), api('GET', '/v1/queues')]);
      this.script.replaceChildren(...scripts.map((name) => h('option', { value: name }, line(name))));
      if (!scripts.length) this.script.append(h('option', { value: '' }, 'there is none'));
      this.queues.replaceChildren(...queues.map(({ name }) => h('option', { value: name })));
    } catch (e) {
      complain(e);
    }
  }

  /** The record, as text: what was typed as JSON goes out as it was typed. */
  record() {
    if (this.kind === 'json') return this.json.value;
    const job = {
      command: () => ({ command: this.command.value }),
      script: () => ({ script: this.script.value, args: lines(this.args.value) }),
      url: () => ({ url: this.url.value.trim() }),
    }[this.kind]();
    const value = (name) => this.form.elements[name].value.trim();
    for (const name of ['name', 'queue', 'comment', 'timeout']) if (value(name)) job[name] = value(name);
    for (const name of ['priority', 'tries']) if (value(name)) job[name] = Number(value(name));
    const tags = value('tags').split(',').map((tag) => tag.trim()).filter(Boolean);
    if (tags.length) job.tags = tags;
    const text = JSON.stringify(job);
    if (this.kind !== 'url') return text;
    const fields = lines(this.headers.value).map((one) => one.match(/^([^:]+):\s*(.*)$/)?.slice(1) ?? [one, '']);
    const payload = this.payload.value.trim();
    if (payload) JSON.parse(payload);
    const parts = [text.slice(1, -1)];
    if (fields.length) parts.push(`"headers":${JSON.stringify(Object.fromEntries(fields))}`);
    if (payload) parts.push(`"payload":${payload}`);
    return `{${parts.join()}}`;
  }

  async push() {
    this.wrong.hidden = true;
    try {
      const made = await api('POST', '/v1/jobs', { body: this.record() });
      if (this.closed) return;
      location.hash = `#/jobs/${encodeURIComponent(made.id)}`;
      notice(`Job ${line(made.id)} is accepted.`, 'done');
    } catch (e) {
      this.wrong.hidden = false;
      this.wrong.textContent = e instanceof SyntaxError ? `The payload is not JSON: ${e.message}` : e.message;
    }
  }
}
