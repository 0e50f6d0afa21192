// In: the rows somebody is looking at and the rows there are now. Out: what to show, so that nothing moves under a
// pointer. Pure.

/**
 * The rows as they stand, with their new contents; those that are no longer there stay, marked `gone`.
 * @template {{ id: string }} Row
 * @param {readonly (Row & { gone?: boolean })[]} shown @param {readonly Row[]} latest
 * @returns {{ rows: (Row & { gone?: boolean })[], fresh: number }} `fresh`: how many wait to be shown.
 */
export function steady(shown, latest) {
  const byId = new Map(latest.map((row) => [row.id, row]))
  const known = new Set(shown.map(({ id }) => id))
  return {
    rows: shown.map((row) => byId.get(row.id) ?? { ...row, gone: true }),
    fresh: latest.filter(({ id }) => !known.has(id)).length,
  }
}

/**
 * Rows of one group side by side, where its first one stands.
 * @template {{ group: string }} Row
 * @param {readonly Row[]} rows
 * @returns {[Row, ...Row[]][]}
 */
export function grouped(rows) {
  /** @type {Map<string, [Row, ...Row[]]>} */
  const groups = new Map()
  for (const row of rows) {
    const known = groups.get(row.group)
    if (known === undefined) groups.set(row.group, [row])
    else known.push(row)
  }
  return [...groups.values()]
}
