// Leases, live: who holds what, for how long, what has happened. In: all of them, page by page. Out: a list of any
// length and the one that is open (lease.js).
import { html } from 'htm/preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { get, serverNow } from './api.js'
import { inWords, shareLeft, urgency } from './countdown.js'
import { moveFocus, useKeys } from './keys.js'
import { LeasePane } from './lease.js'
import { Bar, Empty, Failed, Level, useRead, Words } from './ui.js'
import { Virtual } from './virtual.js'

/** @typedef {import('./shapes.js').LeaseSummary} LeaseSummary */

const page = 1_000
/** More than that is for a search by name. */
const mostLeases = 20_000
const rereadMs = 15_000
const states = ['active', 'suspended', 'revoked', 'completed', 'expired']

/** @param {{ me: import('./shapes.js').Me, live: import('./live.js').Live, route: import('./route.js').Route,
 *   navigate: typeof import('./route.js').navigate }} props */
export function Leases({ me, live, route, navigate }) {
  const [state, setState] = useState('active')
  const [filter, setFilter] = useState('')
  const search = useRef(/** @type {HTMLInputElement | null} */ (null))
  const box = useRef(/** @type {HTMLElement | null} */ (null))
  const { data, error, again } = useRead(() => readLeases(state), state)
  useEffect(() => {
    const timer = setInterval(() => (document.hidden ? undefined : again()), rereadMs)
    const stop = live.on('up', again)
    return () => {
      clearInterval(timer)
      stop()
    }
  }, [again])
  useKeys({
    '/': () => search.current?.focus(),
    j: () => moveFocus(box.current, 1),
    k: () => moveFocus(box.current, -1),
    Escape: () => navigate('leases'),
  })
  const found = useMemo(() => (data ?? []).filter((lease) => matches(lease, filter)), [data, filter])
  return html`<div class=${route.id === undefined ? 'panes wide' : 'panes wide opened'}>
    <section class="list" aria-label="Leases" ref=${box}>
      <div class="tools">
        <input type="search" placeholder="User, agent, task, purpose  /" aria-label="Search leases" ref=${search} value=${filter}
          onInput=${(/** @type {any} */ event) => setFilter(event.currentTarget.value)} />
        <select aria-label="State" value=${state} onChange=${(/** @type {any} */ event) => setState(event.currentTarget.value)}>
          ${states.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}
        </select>
        <span class="figures total">${data === undefined ? '…' : found.length.toLocaleString('en')}</span>
      </div>
      <${Failed} error=${error} />
      ${data !== undefined && found.length === 0 ? nothing(filter, state) : null}
      ${found.length === 0 ? null : html`<${Virtual} rows=${found} keyOf=${keyOf} label="Leases" show=${(/** @type {LeaseSummary} */ lease) => html`<${Line} lease=${lease} open=${route.id} />`} />`}
    </section>
    ${route.id === undefined ? null : html`<section class="open" aria-label="The lease that is open"><${LeasePane} key=${route.id} id=${route.id} me=${me} live=${live} onChanged=${again} /></section>`}
  </div>`
}

const keyOf = (/** @type {LeaseSummary} */ { id }) => id

/** Newest first. @param {string} state @returns {Promise<LeaseSummary[]>} */
async function readLeases(state) {
  /** @type {LeaseSummary[]} */
  const all = []
  let before = ''
  do {
    const { leases, next } = await get(`/leases?state=${state}&summary=1&limit=${page}${before}`)
    all.push(...leases)
    before = next === undefined || next === null ? '' : `&before=${encodeURIComponent(next)}`
  } while (before !== '' && all.length < mostLeases)
  return all
}

/** @param {LeaseSummary} lease @param {string} filter */
function matches({ id, user, agent, task, purpose }, filter) {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean)
  return words.every((word) =>
    [id, user, agent, task, purpose].some((each) => each.toLowerCase().includes(word)),
  )
}

/** @param {string} filter @param {string} state */
function nothing(filter, state) {
  if (filter !== '') return html`<${Empty} title="Nothing matches">Try fewer words, or another state.<//>`
  return state === 'active'
    ? html`<${Empty} title="No lease is active">Issue one: <code>leasegate lease issue --user … --agent … --task …</code><//>`
    : html`<${Empty} title=${`No lease is ${state}`}>That is good news, mostly.<//>`
}

/** @param {{ lease: LeaseSummary, open: string | undefined }} props */
function Line({ lease, open }) {
  const { id, user, agent, task, stage, calls, refusals, points, issued_at: from, ends_at: to } = lease
  const now = serverNow()
  const times = { from, to, now }
  return html`<a data-row class="row lease" href=${`#/leases/${encodeURIComponent(id)}`} aria-current=${id === open ? 'true' : undefined}>
    <span class="title"><${Words} text=${agent} names /> <span class="quiet">for</span> <${Words} text=${user} names /></span>
    <span class="sub"><${Words} text=${task} names /> · ${stage}</span>
    <span class="numbers figures"><span>${calls.toLocaleString('en')} ${calls === 1 ? 'call' : 'calls'}</span>
      <span class=${refusals > 0 ? 'some' : ''}>${refusals.toLocaleString('en')} refused</span>
      <span>radius ${points.toLocaleString('en')}</span></span>
    ${
      lease.state === 'active'
        ? html`<span class=${`countdown ${urgency(times)}`}><${Bar} value=${shareLeft(times)} tone=${urgency(times)} label="time left" /><span class="figures">${inWords(to - now)}</span></span>`
        : html`<span class="countdown"><${Level} word=${lease.state} /></span>`
    }
  </a>`
}
