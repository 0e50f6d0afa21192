// Health: every gate, whether all decide by the same policy, how old their view of revocations is, and how people
// decide. In: status events. Out: cards, one chart, a table. Changes nothing.
import { html } from 'htm/preact'
import { useEffect, useState } from 'preact/hooks'
import { get } from './api.js'
import { Chart } from './chart.js'
import { Chip, Empty, Facts, Failed, Id, useRead, When, Words } from './ui.js'

/** @typedef {import('./shapes.js').Gate} Gate */
/** @typedef {{ gates: Gate[], now: number }} Status */

const kept = 240

/** @param {{ live: import('./live.js').Live }} props */
export function Health({ live }) {
  const first = useRead(() => get('/status'), 'status')
  const approvers = useRead(() => get('/approvers'), 'approvers')
  const [seen, setSeen] = useState(/** @type {Status[]} */ ([]))
  const add = (/** @type {Status | undefined} */ status) =>
    status === undefined ? undefined : setSeen((old) => [...old, status].slice(-kept))
  useEffect(() => add(first.data), [first.data])
  useEffect(() => {
    return live.listen({ status: add, up: first.again })
  }, [])
  const status = seen.at(-1)
  const digests = new Set(
    (status?.gates ?? []).map(({ policy_digest: digest }) => digest).filter((each) => each !== null),
  )
  return html`<div class="page">
    <h1>Health</h1>
    <${Failed} error=${first.error} />
    ${status === undefined ? null : html`<${Verdict} gates=${status.gates} digests=${digests.size} />`}
    ${status !== undefined && status.gates.length === 0 ? html`<${Empty} title="No gate has reported">Start one: <code>leasegate serve</code><//>` : null}
    ${status === undefined || status.gates.length === 0 ? null : html`<${Ages} seen=${seen} gates=${status.gates} />`}
    <div class="cards">${(status?.gates ?? []).map((gate) => html`<${Card} key=${gate.id} gate=${gate} alone=${digests.size > 1} />`)}</div>
    <${Habits} people=${approvers.data?.approvers} error=${approvers.error} />
  </div>`
}

/** @param {{ gates: Gate[], digests: number }} props */
function Verdict({ gates, digests }) {
  const ready = gates.filter((gate) => gate.ready).length
  const policy = digests > 1 ? `${digests} different policies are live` : 'all by the same policy'
  const bad = ready < gates.length || digests > 1
  return html`<p class=${`banner ${bad ? 'bad' : 'good'}`} role="status">${ready} of ${gates.length} gates ready, ${policy}.</p>`
}

/** @param {{ seen: Status[], gates: Gate[] }} props */
function Ages({ seen, gates }) {
  const shown = gates.slice(0, 6)
  const ages = shown.map(({ id }) =>
    seen.map((each) => each.gates.find((gate) => gate.id === id)?.revocation_age_ms ?? 0),
  )
  return html`<${Chart} title="Age of the revocation view, ms" names=${shown.map(({ host, pid }) => `${host} ${pid}`)} columns=${[seen.map(({ now }) => now), ...ages]} unit=" ms" />`
}

/** @param {{ gate: Gate, alone: boolean }} props */
function Card({ gate, alone }) {
  return html`<article class="card">
    <h2><${Words} text=${gate.host} names /> <span class="quiet">${gate.role}, ${gate.workers} ${gate.workers === 1 ? 'worker' : 'workers'}</span></h2>
    <p class="chips"><${Chip} tone=${gate.ready ? 'good' : 'bad'}>${gate.ready ? 'ready' : 'not ready'}<//>${alone ? html`<${Chip} tone="wary">policies differ<//>` : null}</p>
    ${gate.faults.map((fault) => html`<p key=${fault} class="banner bad"><${Words} text=${fault} /></p>`)}
    <${Facts} rows=${[
      ['Seen', html`<${When} at=${gate.seen_at} />`],
      ['Started', html`<${When} at=${gate.started_at} />`],
      ['Policy', gate.policy_digest === null ? '–' : html`<${Id} text=${gate.policy_digest} />`],
      [
        'Revocations',
        html`<span class="figures">${gate.revocation_entries ?? '–'} entries, ${gate.revocation_age_ms ?? '–'} ms old</span>`,
      ],
      [
        'Store',
        html`<${Words} text=${typeof gate.store === 'string' ? gate.store : JSON.stringify(gate.store)} names />`,
      ],
      ['Version', html`<${Words} text=${gate.version} names />, process ${gate.pid}`],
    ]} />
  </article>`
}

/** @param {{ people: any[] | undefined, error: Error | undefined }} props */
function Habits({ people, error }) {
  return html`<section class="habits"><h2>Habits of approvers</h2>
    <p>A yes within two seconds of being shown an action is a yes that nobody has read.</p>
    <${Failed} error=${error} />
    ${people?.length === 0 ? html`<p class="nothing">Nobody has decided anything yet.</p>` : null}
    ${
      people === undefined || people.length === 0
        ? null
        : html`<table><thead><tr><th scope="col">Who</th><th scope="col">Yes</th><th scope="col">No</th><th scope="col">Yes under 2 s</th></tr></thead>
      <tbody>${people.map(({ user, yes, no, fast_yes: fast, share_fast: share }) => html`<tr key=${user}><th scope="row"><${Words} text=${user} names /></th><td class="figures">${yes}</td><td class="figures">${no}</td><td class="figures"><meter class=${`bar ${share > 0.25 ? 'last' : 'calm'}`} min="0" max="1" value=${share ?? 0} aria-label="share of fast yes"></meter> ${Math.round((share ?? 0) * 100)} % <span class="quiet">(${fast})</span></td></tr>`)}</tbody></table>`
    }
  </section>`
}
