// In: what a resource is and what a write makes of it, as trees (json.js). Out: one row for each path that is added,
// removed or changed. Pure; leaves out what stays as it is, and says what it cannot know.
import { indented, join } from './json.js'

/** @typedef {import('./json.js').Json} Json */
/** @typedef {{ path: string, kind: 'added' | 'removed' | 'changed', before?: string, after?: string }} Row */

/**
 * What changes. `merge`: `after` is a merge patch (RFC 7396): what it does not name stays, null removes.
 * @param {Json} before @param {Json} after @param {{ merge: boolean }} options
 * @returns {Row[]}
 */
export function diff(before, after, { merge }) {
  /** @type {Row[]} */
  const rows = []
  compare('', before, after, { merge, rows })
  return rows
}

/** @param {string} path @param {Json} before @param {Json} after @param {{ merge: boolean, rows: Row[] }} out */
function compare(path, before, after, out) {
  if (before.kind === 'object' && after.kind === 'object') return members(path, before, after, out)
  // A merge patch replaces lists whole; so they are shown by item only where that is what happens to them.
  if (before.kind === 'array' && after.kind === 'array') {
    for (const at of Array(Math.max(before.items.length, after.items.length)).keys()) {
      step(join(path, at), before.items[at], after.items[at], { ...out, merge: false })
    }
    return
  }
  if (meaning(before) !== meaning(after)) {
    out.rows.push({ path, kind: 'changed', before: indented(before), after: indented(after) })
  }
}

/**
 * @param {string} path @param {Json & { kind: 'object' }} before @param {Json & { kind: 'object' }} after
 * @param {{ merge: boolean, rows: Row[] }} out
 */
function members(path, before, after, out) {
  const was = new Map(before.members)
  const is = new Map(after.members)
  for (const name of new Set([...was.keys(), ...is.keys()])) {
    const below = join(path, name)
    const next = is.get(name)
    if (!out.merge) step(below, was.get(name), next, out)
    else if (next !== undefined) {
      const removes = next.kind === 'scalar' && next.source === 'null'
      step(below, was.get(name), removes ? undefined : next, out)
    }
  }
}

/**
 * @param {string} path @param {Json | undefined} before @param {Json | undefined} after
 * @param {{ merge: boolean, rows: Row[] }} out
 */
function step(path, before, after, out) {
  if (before !== undefined && after !== undefined) compare(path, before, after, out)
  else if (after !== undefined) out.rows.push({ path, kind: 'added', after: indented(after) })
  else if (before !== undefined) out.rows.push({ path, kind: 'removed', before: indented(before) })
}

/** Equal for the same value: an escape in a string is no difference, the digits of a number are. @param {Json} tree */
function meaning(tree) {
  const text = indented(tree)
  return tree.kind === 'scalar' && text.startsWith('"') ? JSON.stringify(JSON.parse(text)) : text
}
