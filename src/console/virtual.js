// A list of which only the rows in sight are in the page. In: all rows, and how to show one. Out: elements, as many
// as fit. All rows have one height, which theme.css says (`--row`).
import { html } from 'htm/preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'

/** Rows beyond the edges, so that scrolling never shows a gap. */
const margin = 8

/**
 * @template Row
 * @param {{ rows: readonly Row[], keyOf: (row: Row) => string, show: (row: Row) => unknown, label: string,
 *   pinned?: boolean }} props `pinned`: rows that come in above push nothing while somebody has scrolled.
 */
export function Virtual({ rows, keyOf, show, label, pinned = false }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null))
  const [sight, setSight] = useState({ top: 0, height: 600, row: 56 })
  const firstKey = rows[0] === undefined ? undefined : keyOf(rows[0])
  const before = useRef(/** @type {string | undefined} */ (undefined))
  const look = () => {
    const { current } = box
    if (current === null) return
    const row = Number.parseFloat(getComputedStyle(current).getPropertyValue('--row')) || 56
    const next = { top: current.scrollTop, height: current.clientHeight, row }
    setSight((old) => (old.top === next.top && old.height === next.height && old.row === row ? old : next))
  }
  useEffect(() => {
    look()
    const observer = new ResizeObserver(look)
    if (box.current !== null) observer.observe(box.current)
    return () => observer.disconnect()
  }, [])
  useLayoutEffect(() => {
    const { current } = box
    const moved = rows.findIndex((row) => keyOf(row) === before.current)
    if (pinned && current !== null && current.scrollTop > 0 && moved > 0)
      current.scrollTop += moved * sight.row
    before.current = firstKey
  }, [firstKey])
  const from = Math.max(0, Math.floor(sight.top / sight.row) - margin)
  const to = Math.min(rows.length, Math.ceil((sight.top + sight.height) / sight.row) + margin)
  return html`<div class="virtual" ref=${box} onScroll=${look} role="list" aria-label=${label} tabindex="0">
    <div class="filler" style=${{ height: `${from * sight.row}px` }}></div>
    ${rows.slice(from, to).map((row, at) => html`<div key=${keyOf(row)} class="cell" role="listitem" aria-setsize=${rows.length} aria-posinset=${from + at + 1}>${show(row)}</div>`)}
    <div class="filler" style=${{ height: `${(rows.length - to) * sight.row}px` }}></div>
  </div>`
}
