// Text for people: times, sizes, and what jobs call themselves. Nothing here touches the page.

// Escapes of terminals: control sequences, strings such as titles and links, and short ones.
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-OQ-WYZ\\`-~])/g;
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]{0,4000}\x1b?|[ -/]*)$/;
// Characters that would be invisible, or would change the direction of the text around it.
const INVISIBLE = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

const picture = (c) => (c < ' ' ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : c === '\x7f' ? '\u2421' : '\ufffd');

/** Any text without escapes and overstrikes; other invisible characters have a visible stand-in. */
export const plain = (text) =>
  String(text).replace(ESCAPES, '').replace(/[^\n\x08]\x08/g, '').replace(INVISIBLE, picture);

/** The same in one line. */
export const line = (text) => plain(text).replace(/\s+/g, ' ').trim();

/** Parts a text that goes on before an escape that is not complete yet. */
export function part(text) {
  const at = text.search(UNFINISHED);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at)];
}

/** What a job runs, as one would type it. */
export function work(job) {
  const word = (arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`);
  if (job.script !== undefined) return [job.script, ...(job.args ?? []).map(word)].join(' ');
  if (job.url !== undefined) return `POST ${job.url}`;
  return Array.isArray(job.command) ? job.command.map(word).join(' ') : String(job.command ?? '');
}

let skew = 0;

/** Notes the server's clock. Its header has whole seconds: less is no difference. */
export function setClock(date) {
  const off = Date.parse(date) - Date.now();
  skew = Math.abs(off) > 2000 ? off : 0;
}

/** Now, by the server's clock, in milliseconds. */
export const now = () => Date.now() + skew;

/** A duration in seconds. */
export function span(s) {
  if (s < 0.001) return 'under 1 ms';
  if (s < 0.0995) return `${Math.round(s * 1000)} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 59.5) return `${Math.round(s)} s`;
  const two = (n) => String(n).padStart(2, '0');
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min ${two(Math.floor(s % 60))} s`;
  const h = Math.floor(m / 60);
  return h < 48 ? `${h} h ${two(m % 60)} min` : `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** How long something has run by now, without the parts of a second that nobody could read. */
export const running = (s) => (s < 60 ? `${Math.max(0, Math.floor(s))} s` : span(s));

/** A date, as far from now as it is. */
export function ago(date) {
  const s = (now() - Date.parse(date)) / 1000;
  const far = Math.abs(s);
  if (far < 5) return s < -1 ? 'in a moment' : 'now';
  const rough =
    far < 60 ? `${Math.round(far)} s`
    : far < 3600 ? `${Math.round(far / 60)} min`
    : far < 86400 ? `${Math.round(far / 3600)} h`
    : far < 86400 * 14 ? `${Math.round(far / 86400)} d`
    : '';
  if (!rough) return new Date(date).toLocaleDateString();
  return s > 0 ? `${rough} ago` : `in ${rough}`;
}

/** A date in full. */
export const full = (date) => new Date(date).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** A number of jobs. */
export const count = (n) => n.toLocaleString('en');

/** A number of bytes. */
export function bytes(n) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) [n, i] = [n / 1024, i + 1];
  return `${i && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

/** How a job, or one of its tries, came out: `exit 3`, `timeout`. Empty for what has not ended, or ended well. */
export function outcome(job) {
  switch (job.reason) {
    case undefined: return '';
    case 'exited': return job.exit_code ? `exit ${job.exit_code}` : '';
    case 'signaled': return `signal ${job.signal}`;
    default: return String(job.reason).replaceAll('_', ' ');
  }
}

/** What there is to tell of a job beside its state. What waits has been tried so often; what runs is being tried. */
export function told({ state, attempt = 0, ...job }) {
  if (state === 'failed' || job.reason === 'skipped') return outcome(job);
  if (state === 'pending' || state === 'held') {
    const tries = attempt ? `${attempt} ${attempt === 1 ? 'try' : 'tries'}` : '';
    // A date that is to come has a column of its own.
    const said = ['held', 'not_before', 'backoff', undefined];
    const word = job.waiting?.why;
    const why = said.includes(word) ? '' : word.replaceAll('_', ' ');
    return [why, tries].filter(Boolean).join(', ');
  }
  return attempt > 1 ? `try ${attempt}` : '';
}

/** Why a job waits, in a sentence, where the word alone says too little. */
export function reason({ waiting }) {
  const enough = ['held', 'all_paused', 'queue_paused', 'slots', 'turn', 'not_before', 'backoff', undefined];
  return enough.includes(waiting?.why) ? '' : plain(waiting.text);
}

/** When a waiting job may be started, if that is to come. */
export function due({ state, not_before: begin, retry_at: again }) {
  const dates = state === 'pending' ? [begin, again].filter((date) => Date.parse(date) > now()) : [];
  return dates.sort((one, other) => Date.parse(other) - Date.parse(one))[0];
}

/** A bridge to queues on other servers, and its leases. */
export const leases = ({ name, running: up, leases: open, oldest, lost, refused }) => [
  `${line(name)}: ${open} leased`, oldest === null ? '' : `oldest ${span(oldest)}`,
  lost ? `${lost} lost` : '', refused ? `${refused} refused` : '', up ? '' : 'not running',
].filter(Boolean).join(', ');
