// The small pieces that every page is made of. In: properties. Out: elements. Never: text of others as markup, or
// without its hidden characters marked.
import { html } from 'htm/preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { serverNow } from './api.js'
import { ago, announced, inWords, shareLeft, urgency } from './countdown.js'
import { plain, visible } from './visible.js'

/**
 * Text of somebody else. `names`: an identifier; `lines`: line feeds break, beside their mark; `indented`: they break
 * without one, for they are not in the text but of its indentation.
 * @param {{ text: unknown, names?: boolean, lines?: boolean, indented?: boolean }} props
 */
export function Words({ text, names = false, lines = false, indented = false }) {
  if (text === undefined || text === null || text === '') return html`<span class="nothing">–</span>`
  const pieces = visible(String(text), { names })
  const way = indented ? 'indented' : lines ? 'lines' : 'line'
  return html`<bdi dir="ltr" class=${`words ${way}`}>${pieces.map(pieceOf(way))}</bdi>`
}

/** @param {'line' | 'lines' | 'indented'} way */
function pieceOf(way) {
  return (/** @type {import('./visible.js').Piece} */ { kind, text, note }) => {
    if (kind === 'plain') return text
    if (kind === 'rtl') return html`<bdi dir="rtl">${text}</bdi>`
    if (kind === 'break' && way === 'indented') return html`<br />`
    const mark = html`<mark class=${kind} title=${note}>${text}</mark>`
    return kind === 'break' && way === 'lines' ? html`${mark}<br />` : mark
  }
}

/** The time, and again every second. */
export function useNow() {
  const [now, setNow] = useState(serverNow)
  useEffect(() => {
    const timer = setInterval(() => setNow(serverNow()), 1_000)
    return () => clearInterval(timer)
  }, [])
  return now
}

/**
 * What `read` answers; read again when `key` changes or `again` is called. The answer before stays until then.
 * @template T
 * @param {() => Promise<T>} read
 * @param {unknown} key
 * @returns {{ data: T | undefined, error: Error | undefined, again: () => Promise<void> }}
 */
export function useRead(read, key) {
  const [state, setState] = useState(/** @type {{ data?: T, error?: Error, key?: unknown }} */ ({}))
  const turn = useRef(0)
  const again = useCallback(async () => {
    const mine = ++turn.current
    try {
      const data = await read()
      if (mine === turn.current) setState({ data, key })
    } catch (error) {
      if (mine === turn.current) setState((old) => ({ ...old, error: /** @type {Error} */ (error) }))
    }
  }, [key])
  useEffect(() => {
    again()
    return () => {
      turn.current++
    }
  }, [again])
  const data = state.key === key ? state.data : undefined
  return { data, error: state.error, again }
}

/** @param {{ value: number, tone?: string, label: string }} props `value`: 0 to 1. */
export function Bar({ value, tone = 'calm', label }) {
  return html`<meter class=${`bar ${tone}`} min="0" max="1" value=${value} aria-label=${label}></meter>`
}

/** Time left, as a bar and in words. @param {{ from: number, to: number, label?: string }} props */
export function Countdown({ from, to, label = 'time left' }) {
  const now = useNow()
  const times = { from, to, now }
  return html`<span class=${`countdown ${urgency(times)}`}>
    <${Bar} value=${shareLeft(times)} tone=${urgency(times)} label=${label} />
    <span class="figures">${inWords(to - now)}</span>
  </span>`
}

/** Tells a screen reader, three times at most. @param {{ to: number }} props */
export function Announced({ to }) {
  const now = useNow()
  return html`<p class="heard" aria-live="polite">${announced(to - now)}</p>`
}

/** @param {{ at: number | null | undefined }} props */
export function When({ at }) {
  const now = useNow()
  if (at === undefined || at === null) return html`<span class="nothing">–</span>`
  const iso = new Date(at * 1000).toISOString()
  return html`<time dateTime=${iso} title=${iso}>${ago(at, now)}</time>`
}

/** @param {{ tone?: string, children?: unknown }} props */
export function Chip({ tone = 'quiet', children }) {
  return html`<span class=${`chip ${tone}`}>${children}</span>`
}

/** A word of a scale, with a tone of its own. @param {{ word: string | null | undefined, of?: string }} props */
export function Level({ word, of = '' }) {
  if (word === undefined || word === null) return null
  return html`<${Chip} tone=${tones[word] ?? 'quiet'}>${plain(word)}${of}<//>`
}

/** @type {Readonly<Record<string, string>>} */
const tones = {
  high: 'bad',
  restricted: 'bad',
  medium: 'wary',
  confidential: 'wary',
  allow: 'good',
  deny: 'bad',
  hold: 'wary',
  draft: 'calm',
  active: 'good',
  suspended: 'wary',
  revoked: 'bad',
  approved: 'good',
  executed: 'good',
  used: 'good',
  refused: 'bad',
  failed: 'bad',
  pending: 'calm',
}

/** Names and values. @param {{ rows: [string, unknown][] }} props */
export function Facts({ rows }) {
  return html`<dl class="facts">
    ${rows.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`
}

/** @param {{ title: string, children?: unknown }} props */
export function Empty({ title, children }) {
  return html`<div class="empty"><h2>${title}</h2><p>${children}</p></div>`
}

/** Why something did not work. @param {{ error: Error | undefined }} props */
export function Failed({ error }) {
  return error === undefined
    ? null
    : html`<p class="banner bad" role="alert"><${Words} text=${error.message} /></p>`
}

/** Modal; Escape and the button close it. @param {{ title: string, onClose: () => void, children?: unknown }} props */
export function Dialog({ title, onClose, children }) {
  const ref = useRef(/** @type {HTMLDialogElement | null} */ (null))
  useEffect(() => {
    const before = document.activeElement
    ref.current?.showModal()
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return html`<dialog ref=${ref} onClose=${onClose} aria-labelledby="dialog-title">
    <header>
      <h2 id="dialog-title">${title}</h2>
      <button type="button" class="plain" onClick=${() => ref.current?.close()} aria-label="Close">✕</button>
    </header>
    ${children}
  </dialog>`
}

/** Copies what would be cut off. @param {{ text: string }} props */
export function Id({ text }) {
  return html`<code class="id" title=${plain(text, { names: true })}>${plain(text, { names: true })}</code>`
}
