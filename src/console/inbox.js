// The inbox: what waits for a person, on the left; the one that is open, on the right. In: pending actions. Out: the
// list, which never moves while somebody points at it or reads one. Decides nothing: confirm.js does.
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { ActionPane } from './action.js'
import { get } from './api.js'
import { moveFocus, useKeys } from './keys.js'
import { grouped, steady } from './steady.js'
import { Countdown, Dialog, Empty, Failed, Level, useRead, When, Words } from './ui.js'

/** @typedef {import('./shapes.js').ActionView & { gone?: boolean }} Row */

/** @param {{ me: import('./shapes.js').Me, live: import('./live.js').Live, route: import('./route.js').Route,
 *   navigate: typeof import('./route.js').navigate }} props */
export function Inbox({ me, live, route, navigate }) {
  const [which, setWhich] = useState(/** @type {'pending' | 'all'} */ ('pending'))
  const [filter, setFilter] = useState('')
  const [pointed, setPointed] = useState(false)
  const [helps, setHelps] = useState(false)
  const list = useRef(/** @type {HTMLElement | null} */ (null))
  const search = useRef(/** @type {HTMLInputElement | null} */ (null))
  const { data, error, again } = useRead(() => readActions(which), which)
  useEffect(() => live.listen({ actions: again, up: again }), [again])
  const { rows, fresh, show } = useSteady(data, pointed || route.id !== undefined)
  useKeys({
    j: () => moveFocus(list.current, 1),
    ArrowDown: () => moveFocus(list.current, 1),
    k: () => moveFocus(list.current, -1),
    ArrowUp: () => moveFocus(list.current, -1),
    '/': () => search.current?.focus(),
    '?': () => setHelps(true),
    Escape: () => {
      if (document.activeElement === search.current) search.current?.blur()
      else navigate('inbox')
    },
  })
  const found = rows.filter((row) => matches(row, filter))
  return html`<div class=${route.id === undefined ? 'panes' : 'panes opened'}>
    <section class="list" aria-label="What waits" ref=${list}
      onPointerEnter=${() => setPointed(true)} onPointerLeave=${() => setPointed(false)}>
      <div class="tools">
        <input type="search" placeholder="Search  /" aria-label="Search what waits" ref=${search}
          value=${filter} onInput=${(/** @type {any} */ event) => setFilter(event.currentTarget.value)} />
        <select aria-label="Which" value=${which} onChange=${(/** @type {any} */ event) => setWhich(event.currentTarget.value)}>
          <option value="pending">Waiting</option><option value="all">All</option>
        </select>
        <button type="button" class="plain" onClick=${() => setHelps(true)} aria-label="Keys">?</button>
      </div>
      <${Failed} error=${error} />
      ${fresh > 0 ? html`<button type="button" class="fresh" onClick=${show}>Show ${fresh} new</button>` : null}
      ${data !== undefined && found.length === 0 ? nothing(which, filter) : null}
      <ul>${grouped(found).map((group) => html`<${Group} key=${group[0].group} group=${group} open=${route.id} />`)}</ul>
    </section>
    <section class="open" aria-label="The one that is open">
      ${
        route.id === undefined
          ? html`<${Empty} title="Nothing is open">Choose one from the list: <kbd>j</kbd> <kbd>k</kbd> move, <kbd>Enter</kbd> opens.<//>`
          : html`<${ActionPane} key=${route.id} id=${route.id} me=${me} live=${live} onDecided=${again} />`
      }
    </section>
    ${helps ? html`<${Help} onClose=${() => setHelps(false)} />` : null}
  </div>`
}

/** Rows that nobody needs more of, and pages that are asked for at most. */
const enough = 200
const maxPages = 10

/** @param {'pending' | 'all'} which @returns {Promise<Row[]>} Soonest to end first, or newest first. */
async function readActions(which) {
  /** @type {Row[]} */
  const actions = []
  let place = ''
  // What others have is looked through page by page: a page may be empty and have a next.
  for (let pages = 0; pages < maxPages && actions.length < enough; pages++) {
    const page = await get(`/actions?state=${which}&limit=${enough}${place}`)
    actions.push(...page.actions)
    if (page.next === undefined) break
    place = `&before=${page.next}`
  }
  return which === 'all'
    ? actions
    : actions.toSorted((/** @type {Row} */ a, /** @type {Row} */ b) => a.expires_at - b.expires_at)
}

/** What is shown of what there is. @param {Row[] | undefined} latest @param {boolean} still */
function useSteady(latest, still) {
  const [shown, setShown] = useState(/** @type {Row[]} */ ([]))
  useEffect(() => {
    if (latest === undefined) setShown([])
    else setShown((old) => (still && old.length > 0 ? steady(old, latest).rows : latest))
  }, [latest, still])
  const { rows, fresh } = steady(shown, latest ?? [])
  return { rows, fresh: still && shown.length > 0 ? fresh : 0, show: () => setShown(latest ?? []) }
}

/** @param {Row} row @param {string} filter */
function matches({ id, what, lease }, filter) {
  const text = [
    id,
    what.method,
    what.path,
    what.resource,
    what.verb,
    lease.user,
    lease.agent?.id,
    lease.task?.id,
  ]
  const words = filter.toLowerCase().split(/\s+/)
  return words.every((word) => text.some((each) => each?.toLowerCase().includes(word)) || word === '')
}

/** @param {string} which @param {string} filter */
function nothing(which, filter) {
  if (filter !== '') return html`<${Empty} title="Nothing matches">Try fewer words.<//>`
  return which === 'all'
    ? html`<${Empty} title="Nothing yet">What agents have asked for, and what became of it, is kept here for a day.<//>`
    : html`<${Empty} title="Nobody waits for you">When policy holds a call or an agent writes a draft, it appears here by itself.<//>`
}

/** @param {{ group: [Row, ...Row[]], open: string | undefined }} props */
function Group({ group, open }) {
  const [first] = group
  const [isOpen, setOpen] = useState(false)
  if (group.length === 1) return html`<li><${Line} row=${first} open=${open} /></li>`
  const unfolded = isOpen || group.some(({ id }) => id === open)
  const { what, lease } = first
  return html`<li class="group">
    <button type="button" data-row class="row" aria-expanded=${unfolded} onClick=${() => setOpen(!unfolded)}>
      <span class="title"><span class="count">${group.length}</span>
        <${Words} text=${first.kind === 'lease' ? titleOf(first) : (what.operation ?? titleOf(first))} names /></span>
      <span class="sub">alike, by <${Words} text=${lease.agent?.id} names /> for <${Words} text=${lease.user} names /></span>
    </button>
    ${unfolded ? html`<ul>${group.map((row) => html`<li key=${row.id}><${Line} row=${row} open=${open} /></li>`)}</ul>` : null}
  </li>`
}

/** @param {{ row: Row, open: string | undefined }} props */
function Line({ row, open }) {
  const { id, kind, what, lease, state, gone } = row
  const waits = state === 'pending' && gone !== true
  return html`<a data-row class=${`row waiting${waits ? '' : ' gone'}`} href=${`#/inbox/${encodeURIComponent(id)}`}
    aria-current=${id === open ? 'true' : undefined}>
    <span class="title"><${Words} text=${titleOf(row)} names /></span>
    ${waits ? html`<${Countdown} from=${row.created_at} to=${row.expires_at} />` : html`<${When} at=${row.created_at} />`}
    <span class="sub">
      <${Words} text=${lease.agent?.id} names /> for <${Words} text=${lease.user} names />
    </span>
    <span class="chips">
      <span class="kind">${kindWords[kind]}</span><${Level} word=${what.risk} of=" risk" /><${Level} word=${what.sensitivity} />
      ${waits ? null : html`<${Level} word=${gone && state === 'pending' ? 'no longer waits' : state} />`}
    </span>
  </a>`
}

/** @type {Readonly<Record<string, string>>} */
const kindWords = { hold: 'held call', draft: 'draft', lease: 'lease' }

/** @param {Row} row */
function titleOf({ kind, what, lease }) {
  return kind === 'lease' ? `Lease for ${lease.agent?.id ?? 'an agent'}` : `${what.method} ${what.path}`
}

/** @param {{ onClose: () => void }} props */
function Help({ onClose }) {
  const rows = [
    ['j or ↓', 'next in the list'],
    ['k or ↑', 'the one before'],
    ['Enter', 'open it'],
    ['a', 'approve: asks again, with the action in words'],
    ['r', 'refuse: asks for the reason'],
    ['/', 'search'],
    ['Esc', 'close'],
    ['?', 'these keys'],
  ]
  return html`<${Dialog} title="Keys" onClose=${onClose}>
    <dl class="keys">${rows.map(([key, does]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${does}</dd></div>`)}</dl>
  <//>`
}
