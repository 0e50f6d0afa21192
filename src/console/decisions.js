// Decisions as they are made: a stream with filters and a pause, a chart, and the one that is open (decision.js).
// In: the line to the server. Out: a list that is drawn once a frame at most, however many come in.
import { html } from 'htm/preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { get } from './api.js'
import { Chart } from './chart.js'
import { DecisionPane } from './decision.js'
import { decisionFilter } from './decision_filter.js'
import { moveFocus, useKeys } from './keys.js'
import { Empty, Failed, Level, useRead, Words } from './ui.js'
import { Virtual } from './virtual.js'

/** @typedef {import('./shapes.js').DecisionRow} DecisionRow */

const mostRows = 5_000
const chartSeconds = 120
/** Whoever only approves sees the decisions of their own actions, and no stream. */
const readers = ['operator', 'auditor', 'admin']
const effects = ['allow', 'deny', 'hold', 'draft']

/** @param {{ me: import('./shapes.js').Me, live: import('./live.js').Live, route: import('./route.js').Route, navigate: typeof import('./route.js').navigate }} props */
export function Decisions({ me, live, route, navigate }) {
  const preset = route.id?.includes(':') === true ? route.id : ''
  const [text, setText] = useState(preset)
  const [paused, setPaused] = useState(false)
  const box = useRef(/** @type {HTMLElement | null} */ (null))
  const search = useRef(/** @type {HTMLInputElement | null} */ (null))
  useEffect(() => (preset === '' ? undefined : setText(preset)), [preset])
  const filter = useMemo(() => decisionFilter(text), [text])
  const query = filter.query === '' ? 'limit=200' : `limit=200&${filter.query}`
  const { data, error, again } = useRead(() => get(`/decisions?${query}`), query)
  const streams = me.roles.some((role) => readers.includes(role))
  const { rows, rates, leftOut } = useStream({ live, first: data?.decisions, paused, again, streams })
  useKeys({
    '/': () => search.current?.focus(),
    j: () => moveFocus(box.current, 1),
    k: () => moveFocus(box.current, -1),
    p: () => setPaused(!paused),
    Escape: () => navigate('decisions'),
  })
  const found = useMemo(() => rows.filter(filter.matches), [rows, filter])
  const open = preset === '' ? route.id : undefined
  return html`<div class=${open === undefined ? 'panes wide' : 'panes wide opened'}>
    <section class="list" aria-label="Decisions" ref=${box}>
      <div class="tools">
        <input type="search" placeholder="Words, or effect:deny agent:… lease:…" aria-label="Filter decisions" ref=${search} value=${text}
          onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)} />
        <button type="button" aria-pressed=${paused} onClick=${() => setPaused(!paused)}>${paused ? 'Go on' : 'Pause'} <kbd>p</kbd></button>
        <span class="figures total">${found.length.toLocaleString('en')}</span>
      </div>
      <${Chart} title="Decisions per second" names=${effects} columns=${rates} />
      <${Failed} error=${error} />
      ${leftOut === 0 ? null : html`<p class="banner wary" role="status">${leftOut.toLocaleString('en')} more were not sent, for there were too many in one second; the audit log has them.</p>`}
      ${data !== undefined && found.length === 0 ? html`<${Empty} title="No decisions here">${text === '' ? 'Each call through the gate is one; the first appears here by itself.' : 'None matches. Take a word away.'}<//>` : null}
      ${found.length === 0 ? null : html`<${Virtual} rows=${found} keyOf=${keyOf} label="Decisions" pinned show=${(/** @type {DecisionRow} */ row) => html`<${Line} row=${row} open=${open} />`} />`}
    </section>
    ${open === undefined ? null : html`<section class="open" aria-label="The decision that is open"><${DecisionPane} key=${open} id=${open} /></section>`}
  </div>`
}

const keyOf = (/** @type {DecisionRow} */ { decision_id: id, outcome, time }) =>
  `${id} ${outcome.ended} ${time}`

/**
 * Rows, newest first, and seconds × effects. What comes in is put aside and taken over once a frame; while it is
 * paused, it is counted and not shown.
 * @param {{ live: import('./live.js').Live, first: DecisionRow[] | undefined, paused: boolean, again: () => void,
 *   streams: boolean }} props
 */
function useStream({ live, first, paused, again, streams }) {
  const [rows, setRows] = useState(/** @type {DecisionRow[]} */ ([]))
  const [rates, setRates] = useState(() => ratesOf(new Map(), thisSecond()))
  const since = useRef(thisSecond())
  const [leftOut, setLeftOut] = useState(0)
  const waiting = useRef(/** @type {DecisionRow[]} */ ([]))
  const counted = useRef(/** @type {Map<number, number[]>} */ (new Map()))
  const isPaused = useRef(paused)
  isPaused.current = paused
  useEffect(() => {
    if (first === undefined) return
    setRows((old) => merged(old, first))
  }, [first])
  useEffect(() => {
    let frame = 0
    const take = () => {
      frame = 0
      if (isPaused.current || waiting.current.length === 0) return
      const fresh = waiting.current.reverse()
      waiting.current = []
      setRows((old) => [...fresh, ...old].slice(0, mostRows))
    }
    const stop = [
      live.on('up', again),
      live.on('left_out', (data) => setLeftOut((old) => old + (data?.decisions ?? 0))),
      live.on('decision', (row) => {
        if (row === undefined) return
        count(counted.current, row)
        if (waiting.current.length < mostRows) waiting.current.push(row)
        if (frame === 0) frame = requestAnimationFrame(take)
      }),
    ]
    const timer = setInterval(() => {
      setRates(ratesOf(counted.current, since.current))
      take()
    }, 1_000)
    live.wantDecisions(streams)
    return () => {
      for (const each of stop) each()
      clearInterval(timer)
      cancelAnimationFrame(frame)
      live.wantDecisions(false)
    }
  }, [again])
  return { rows, rates, leftOut }
}

/** Each once, newest first. @param {DecisionRow[]} old @param {DecisionRow[]} first */
function merged(old, first) {
  const known = new Map([...first, ...old].map((row) => [keyOf(row), row]))
  return [...known.values()].toSorted((a, b) => (a.time < b.time ? 1 : -1)).slice(0, mostRows)
}

/** @param {Map<number, number[]>} counted @param {DecisionRow} row */
function count(counted, { decision }) {
  const second = thisSecond()
  const counts = counted.get(second) ?? effects.map(() => 0)
  const at = effects.indexOf(decision.effect)
  if (at !== -1) counts[at] = (counts[at] ?? 0) + 1
  counted.set(second, counts)
  for (const old of counted.keys()) if (old < second - chartSeconds) counted.delete(old)
}

const thisSecond = () => Math.floor(Date.now() / 1000)

/**
 * Whole seconds alone, and none from before anybody counted: those would look like silence.
 * @param {Map<number, number[]>} counted @param {number} since @returns {number[][]}
 */
function ratesOf(counted, since) {
  const now = thisSecond()
  const first = Math.min(now - 1, Math.max(since, now - chartSeconds))
  const seconds = Array.from({ length: now - first }, (_, at) => first + at)
  return [seconds, ...effects.map((_, at) => seconds.map((second) => counted.get(second)?.[at] ?? 0))]
}

/** @param {{ row: DecisionRow, open: string | undefined }} props */
function Line({ row, open }) {
  const { decision_id: id, time, what, who, agent, decision, outcome } = row
  return html`<a data-row class="row decision" href=${`#/decisions/${encodeURIComponent(id)}`} aria-current=${id === open ? 'true' : undefined}>
    <span class="title"><${Level} word=${decision.effect} /> <span class="method">${what.method}</span> <${Words} text=${what.path} names /></span>
    <span class="sub"><time>${time.slice(11, 19)}</time> <${Words} text=${agent?.id ?? 'nobody known'} names /> for <${Words} text=${who?.user} names />${decision.code === null ? null : html` · <code>${decision.code}</code>`}</span>
    <span class="numbers figures"><span>${outcome.status ?? '–'}</span><span>${outcome.duration_ms.toFixed(1)} ms</span></span>
  </a>`
}
