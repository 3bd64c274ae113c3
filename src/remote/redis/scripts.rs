//! Scripts that the server runs, each as one step. They act on a message only if its lease is ours: the owner of a lease
//! that another has taken over can neither extend nor end it.

use redis::Script;
use std::sync::LazyLock;

/// The consumer group of all receivers.
pub(super) const GROUP: &str = "pirn";

/// Moves lapsed messages that were received often enough to the failed queue, and leases the others of them.
///
/// KEYS stream, failed; ARGV group, we, lease in ms, most, max receives (0: no limit).
/// Returns the time in ms until another lease may lapse, the ids that were moved, and `{id, receives, fields}` for each
/// message that is ours now.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        "{FAIL}
local lease, most, max = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local ours, moved, soon = {{}}, {{}}, lease
local lapsed = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', lease, '-', '+', most)
for _, p in ipairs(lapsed) do
  if max > 0 and p[4] >= max then
    fail(p[1])
    moved[#moved + 1] = p[1]
  else
    local m = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], lease, p[1])
    if m[1] then
      ours[#ours + 1] = {{p[1], p[4] + 1, m[1][2]}}
    else
      redis.call('XACK', KEYS[1], ARGV[1], p[1])
    end
  end
end
if #lapsed == most then
  soon = 0
else
  for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000)) do
    soon = math.min(soon, math.max(lease - p[3], 0))
  end
end
return {{soon, moved, ours}}"
    ))
});

/// Starts leases anew.
///
/// KEYS stream; ARGV group, we, ids. Returns 1 for each that is ours, else 0.
pub(super) static EXTEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local out = {}
for i = 3, #ARGV do
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  local ours = #p == 1 and p[1][2] == ARGV[2]
  if ours then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
  end
  out[#out + 1] = ours and 1 or 0
end
return out",
    )
});

/// Removes messages, and keeps the records of their jobs.
///
/// KEYS stream, ended, failed, and for each message the key of its result; ARGV group, we, seconds that results are kept,
/// and for each message its id, its first id and the record, empty if none is kept. Returns for each 1 if it is removed,
/// 2 if it was already, 3 if it is one of the newest in the failed queue, 0 if it is another's.
pub(super) static ACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local out = {}
local function has_failed(id)
  for _, m in ipairs(redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 100)) do
    for i = 1, #m[2], 2 do
      if m[2][i] == 'id' and m[2][i + 1] == id then
        return true
      end
    end
  end
  return false
end
for i = 4, #KEYS do
  local a = 4 + (i - 4) * 3
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[a], ARGV[a], 1)
  if #p == 0 then
    out[#out + 1] = has_failed(ARGV[a + 1]) and 3 or 2
  elseif p[1][2] ~= ARGV[2] then
    out[#out + 1] = 0
  else
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[a])
    redis.call('XDEL', KEYS[1], ARGV[a])
    if ARGV[a + 2] ~= '' then
      redis.call('SET', KEYS[i], ARGV[a + 2], 'EX', ARGV[3])
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'id', ARGV[a + 1], 'record', ARGV[a + 2])
    end
    out[#out + 1] = 1
  end
end
return out",
    )
});

/// Gives messages back, or moves them to the failed queue and keeps the records of their jobs.
///
/// KEYS stream, failed, ended, and for each message the key of its result; ARGV group, we, max receives (0: no limit),
/// seconds that results are kept, and for each message its id, the age in ms that its lease gets, its first id and the
/// record, empty if none is kept. Returns for each 1 if it can be received again once the lease is over, 2 if it was
/// moved, 0 if it is not ours.
pub(super) static NACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        "{FAIL}
local max, out = tonumber(ARGV[3]), {{}}
for i = 4, #KEYS do
  local a = 5 + (i - 4) * 4
  local p = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[a], ARGV[a], 1)
  if #p == 0 or p[1][2] ~= ARGV[2] then
    out[#out + 1] = 0
  elseif max == 0 or p[1][4] < max then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[a], 'IDLE', ARGV[a + 1], 'JUSTID')
    out[#out + 1] = 1
  else
    fail(ARGV[a])
    if ARGV[a + 3] ~= '' then
      redis.call('SET', KEYS[i], ARGV[a + 3], 'EX', ARGV[4])
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'id', ARGV[a + 2], 'record', ARGV[a + 3])
    end
    out[#out + 1] = 2
  end
end
return out"
    ))
});

/// Moves jobs from a list that others fill to a stream.
///
/// KEYS list, stream; ARGV most. Returns how many.
pub(super) static FEED: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local v = redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
for _, job in ipairs(v) do
  redis.call('XADD', KEYS[2], '*', 'job', job)
end
if #v > 0 then
  redis.call('LTRIM', KEYS[1], #v, -1)
end
return #v",
    )
});

/// Sends jobs, all or none.
///
/// KEYS stream; ARGV for each its job, and its group, empty if it has none. Returns their ids.
pub(super) static SEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local ids = {}
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'job', ARGV[i])
  else
    ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'job', ARGV[i], 'group', ARGV[i + 1])
  end
end
return ids",
    )
});

/// Looks for a job.
///
/// KEYS stream, ended, result; ARGV its first id. Returns 1 if it waits or runs, its record if it has ended, and the id of
/// the newest end of any job.
pub(super) static LOOK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local waits = #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
return {waits, redis.call('GET', KEYS[3]), newest[1] and newest[1][1] or '0-0'}",
    )
});

/// A function that moves a message to the failed queue. Lua takes only some thousand arguments at a time.
const FAIL: &str = "local function fail(id)
  local m = redis.call('XRANGE', KEYS[1], id, id)
  if m[1] then
    local fields, known = m[1][2], false
    for i = 1, #fields, 2 do
      known = known or fields[i] == 'id'
    end
    local n = math.min(#fields, 1000)
    if not known then
      fields[n + 1], fields[n + 2] = 'id', id
      n = n + 2
    end
    redis.call('XADD', KEYS[2], '*', unpack(fields, 1, n))
  end
  redis.call('XACK', KEYS[1], ARGV[1], id)
  redis.call('XDEL', KEYS[1], id)
end";
