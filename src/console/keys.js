// Keys that mean something on a page. In: what each does. Out: nothing. Never while somebody types or a dialog is
// open, never with a modifier, never because a key is held down.
import { useEffect } from 'preact/hooks'

/** @param {Record<string, () => void>} keys By `KeyboardEvent.key`. */
export function useKeys(keys) {
  useEffect(() => {
    /** @param {KeyboardEvent} event */
    const listen = (event) => {
      const { key, target, repeat } = event
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
      if (document.querySelector('dialog[open]') !== null) return
      const typing = target instanceof Element && target.closest('input, textarea, select') !== null
      if (typing && key !== 'Escape') return
      const does = Object.hasOwn(keys, key) ? keys[key] : undefined
      if (does === undefined || (repeat && !/^(?:Arrow|[jk]$)/.test(key))) return
      event.preventDefault()
      does()
    }
    addEventListener('keydown', listen)
    return () => removeEventListener('keydown', listen)
  })
}

/**
 * Moves the focus among the rows of a list.
 * @param {ParentNode | null} list @param {1 | -1} by
 */
export function moveFocus(list, by) {
  const rows = [...(list?.querySelectorAll('[data-row]') ?? [])].filter((row) => row instanceof HTMLElement)
  const focused = rows.indexOf(/** @type {HTMLElement} */ (document.activeElement))
  const open = rows.findIndex((row) => row.getAttribute('aria-current') === 'true')
  const at = focused === -1 ? open : focused
  const next = rows[at === -1 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))]
  next?.focus()
  next?.scrollIntoView({ block: 'nearest' })
}
