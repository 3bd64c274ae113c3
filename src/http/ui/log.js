// The output of a job, while the job writes it.

import { Stream, ask, pathOf, token } from './net.js';
import { busy, h, setText } from './dom.js';
import { bytes, part, plain } from './text.js';

/** How much is kept on the page, in characters. The log itself has all of it. */
const KEPT = 256 * 1024;

/** A log, from its last part on. */
export class Log {
  constructor(id, stream) {
    this.path = `${pathOf(id, '/log')}?stream=${stream}`;
    this.text = h('pre', { class: 'log', tabindex: 0, role: 'region', 'aria-label': `Text of ${stream}` });
    this.text.addEventListener('scroll', () => {
      this.sticks = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 24;
    });
    this.state = h('span', { class: 'quiet' });
    this.left = h('p', { class: 'quiet', hidden: true });
    this.whole = h('a', { href: this.path, target: '_blank', rel: 'noopener' }, 'Whole log');
    this.whole.addEventListener('click', (event) => {
      // A link can show no token.
      if (!token.get()) return;
      event.preventDefault();
      busy(this.whole, () => this.save(id));
    });
    this.element = h('div', { class: 'output' }, this.left, this.text, h('p', { class: 'bar' }, this.state, this.whole));
    this.start();
  }

  close() {
    this.stream?.close();
    this.signal?.abort();
    this.closed = true;
  }

  /** True when the job has ended, and all was shown. */
  get isOver() {
    return this.stream?.closed ?? false;
  }

  /** Shows it from its last part on, once more. */
  async start() {
    this.stream?.close();
    this.stream = null;
    Object.assign(this, { offset: 0, carry: '', pieces: [], kept: 0, sticks: true });
    this.text.replaceChildren();
    this.signal?.abort();
    const { signal } = (this.signal = new AbortController());
    try {
      const size = Number((await ask('HEAD', this.path, { signal })).headers.get('content-length'));
      this.offset = Math.max(0, size - KEPT);
    } catch (e) {
      if (signal.aborted) return;
    }
    this.cutLine = this.dropped = this.offset > 0;
    this.showLeft();
    setText(this.state, 'Nothing written yet.');
    this.stream = new Stream(
      () => `${this.path}&follow=true&from=${this.offset}`,
      (event) => this.hear(event),
      (state, why) => this.changed(state, why),
    );
  }

  hear({ name, id, data }) {
    this.offset = Number(id);
    if (name === 'end') {
      this.add(this.carry, true);
      this.carry = '';
      setText(this.state, this.offset ? `${bytes(this.offset)}, complete` : 'It wrote nothing.');
      return true;
    }
    const [whole, carry] = part(this.carry + data);
    this.carry = carry;
    this.add(whole);
    setText(this.state, `${bytes(this.offset)}, live`);
    return false;
  }

  changed(state, why) {
    if (state === 'waiting' && why) setText(this.state, 'Interrupted; it goes on when the server is back.');
    if (state === 'refused') setText(this.state, why.status === 404 ? 'The log is gone.' : `${why.message}.`);
  }

  add(text) {
    let clean = plain(text);
    // The first line after the cut is a part of one.
    if (this.cutLine && clean) {
      clean = clean.slice(clean.indexOf('\n') + 1);
      this.cutLine = false;
    }
    if (!clean) return;
    const node = document.createTextNode(clean);
    this.pieces.push(node);
    this.kept += clean.length;
    this.text.append(node);
    while (this.kept > KEPT && this.pieces.length > 1) {
      const first = this.pieces.shift();
      this.kept -= first.length;
      first.remove();
      this.dropped = true;
    }
    if (this.kept > KEPT) {
      const [only] = this.pieces;
      only.deleteData(0, this.kept - KEPT);
      this.kept = only.length;
      this.dropped = true;
    }
    this.showLeft();
    if (this.sticks) this.text.scrollTop = this.text.scrollHeight;
  }

  showLeft() {
    this.left.hidden = !this.dropped;
    if (this.dropped) setText(this.left, `Only the last ${bytes(KEPT)} are shown here.`);
  }

  async save(id) {
    const blob = await (await ask('GET', this.path)).blob();
    const link = h('a', { href: URL.createObjectURL(blob), download: `${id}.log` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }
}
