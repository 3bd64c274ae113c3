// The page: where it is, who sits before it, and what happens in the spool meanwhile.

import { Stream, api, token } from './net.js';
import { $, complain, notice, say, setAttr, setText, tick } from './dom.js';
import { List } from './list.js';
import { address } from './queues.js';
import { Detail } from './detail.js';
import { NewJob } from './new.js';

let me = { name: null, rights: [] };
let view = null;
let events = null;
// The list that one came from.
let listed = '#/';

const may = (right) => me.rights.includes(right);

/** Shows what the address names. */
function go() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [place, id] = path.split('/');
  const wanted = Object.fromEntries(new URLSearchParams(query));
  if (place === '' && view instanceof List) {
    listed = location.hash;
    view.become(wanted);
    return;
  }
  const before = view;
  const from = view instanceof Detail ? view.id : null;
  view?.close();
  if ($('notice').dataset.kind === 'error') notice('');
  if (place === 'jobs' && id) view = new Detail(name(id), may);
  else if (place === 'new') view = new NewJob(may);
  else view = new List(wanted, may);
  if (view instanceof List) listed = location.hash;
  for (const back of view.element.querySelectorAll('.back')) back.href = listed || '#/';
  $('main').replaceChildren(view.element);
  document.title = `${view.title} · pirn`;
  if (!before) return;
  say(view.title);
  scrollTo(0, 0);
  const [field] = view instanceof NewJob ? [view.form.querySelector(`[name=${view.kind}]`)] : [view.element.querySelector('h1')];
  field?.focus();
  if (view instanceof List && from) view.look().then(() => view.land?.(from));
}

/** An address by hand may be anything. */
function name(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function link(state, text, why = '') {
  const element = $('link');
  setAttr(element, 'data-state', state);
  setText(element, text);
  element.title = why;
}

/** Finds out who we are, and begins again. */
async function begin() {
  events?.close();
  try {
    me = await api('GET', '/v1/whoami');
  } catch (e) {
    me = { name: null, rights: [] };
    if (e.status) complain(e);
  }
  setText($('who'), me.name ?? 'Token');
  $('who').title = me.rights.length ? `Rights: ${me.rights.join(', ')}` : 'No rights';
  $('new').hidden = !may('push');
  setText($('version'), me.version ? `pirn ${me.version}` : '');
  view?.close();
  view = null;
  go();
  listen();
}

function listen() {
  events = new Stream(
    () => '/v1/events',
    (event) => {
      // `ready` comes after each pause: what happened meanwhile is not told.
      if (event.name === 'job') view.stir(JSON.parse(event.data).id);
      else again().catch(() => {});
      return false;
    },
    (state, why) => {
      if (state === 'live') link('live', 'live');
      else if (state === 'refused') link('refused', 'no access', why.message);
      else link('waiting', 'offline', why?.message);
    },
  );
}

/** After a pause: everything may be another, also what we may do. */
async function again() {
  view.stir();
  const now = await api('GET', '/v1/whoami');
  if (String(now.rights) !== String(me.rights)) await begin();
}

function whoDialog() {
  const rights = me.rights.length ? `may: ${me.rights.join(', ')}` : 'may do nothing here';
  setText($('who-now'), me.name ? `The caller is “${me.name}” and ${rights}.` : `Without a token the caller ${rights}.`);
  setText($('who-wrong'), '');
  $('token').value = '';
  $('forget').hidden = !token.get();
  $('who-dialog').showModal();
}

async function useToken(value) {
  if (value && !/^[\x21-\x7e]+$/.test(value)) return setText($('who-wrong'), 'No token has spaces or such characters in it.');
  const old = token.get();
  token.set(value);
  try {
    await api('GET', '/v1/whoami');
  } catch (e) {
    token.set(old);
    return setText($('who-wrong'), `${e.message}.`);
  }
  $('who-dialog').close();
  await begin();
}

$('who').addEventListener('click', whoDialog);
$('who-dialog').querySelector('form').addEventListener('submit', (event) => {
  event.preventDefault();
  if ($('token').value.trim()) useToken($('token').value.trim());
});
$('forget').addEventListener('click', () => useToken(''));
$('keys').addEventListener('click', () => $('keys-dialog').showModal());
$('sure-yes').addEventListener('click', () => $('sure-dialog').close('yes'));
$('notice').querySelector('button').addEventListener('click', () => notice(''));
for (const button of document.querySelectorAll('[data-close]')) button.addEventListener('click', () => button.closest('dialog').close());

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector('dialog[open]')) return;
  const typing = event.target.closest('input:not([type=radio]), textarea, select');
  if (event.key === 'Escape') {
    if (typing?.type === 'search') {
      typing.value = '';
      typing.dispatchEvent(new Event('input'));
    }
    if (typing) typing.blur();
    else if (!$('notice').hidden && $('notice').dataset.kind === 'error') notice('');
    else if (!(view instanceof List)) location.hash = view.element.querySelector('.back').hash;
    return;
  }
  if (typing) return;
  const keys = {
    j: () => view.step?.(1),
    k: () => view.step?.(-1),
    n: () => (location.hash = '#/new'),
    '?': () => $('keys-dialog').showModal(),
    '/': () => (view.search ? view.search.focus() : (location.hash = '#/')),
  };
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});
addEventListener('hashchange', go);
setInterval(tick, 5000);

// Addresses of hq's page: /ui/jobs/7, /ui?term=x, /ui?name=x.
const old = location.pathname.match(/^\/ui\/jobs?\/([^/]+)$/);
const asked = new URLSearchParams(location.search);
const term = asked.get('term') || asked.get('name');
if (old && !location.hash) history.replaceState(null, '', `/ui#/jobs/${old[1]}`);
else if (term && !location.hash) history.replaceState(null, '', `/ui${address({ search: term })}`);
begin();
