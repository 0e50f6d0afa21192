// In: what somebody typed, such as `lease:lse_1 agent:triage deny`. Out: the query for the server and the same test
// for rows that come in live. Pure.

/** @typedef {import('./shapes.js').DecisionRow} DecisionRow */

const names = ['lease', 'agent', 'user', 'backend', 'effect', 'code']

/** @type {Record<string, (row: DecisionRow) => string | null | undefined>} */
const members = {
  lease: (row) => row.lease_id,
  agent: (row) => row.agent?.id,
  user: (row) => row.who?.user,
  backend: (row) => row.what.backend,
  effect: (row) => row.decision.effect,
  code: (row) => row.decision.code,
}

/**
 * `name:value` is exact, on the server too; other words are looked for in the rows that are here.
 * @param {string} text
 */
export function decisionFilter(text) {
  /** @type {[string, string][]} */
  const exact = []
  /** @type {string[]} */
  const words = []
  for (const part of text.split(/\s+/).filter(Boolean)) {
    const at = part.indexOf(':')
    const name = part.slice(0, Math.max(0, at))
    if (names.includes(name) && at + 1 < part.length) exact.push([name, part.slice(at + 1)])
    else words.push(part.toLowerCase())
  }
  return {
    query: new URLSearchParams(exact).toString(),
    /** @param {DecisionRow} row */
    matches(row) {
      const shown = [
        ...Object.values(members).map((of) => of(row)),
        row.what.resource,
        row.what.path,
        row.decision_id,
      ]
      return (
        exact.every(([name, value]) => members[name]?.(row) === value) &&
        words.every((word) => shown.some((each) => each?.toLowerCase().includes(word)))
      )
    },
  }
}
