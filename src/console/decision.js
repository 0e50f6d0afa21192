// One decision, open: its record, and how policy came to it. In: its id. Out: the pane.
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { get } from './api.js'
import { Body } from './call.js'
import { Explained } from './explanation.js'
import { Facts, Failed, Id, Level, useRead, Words } from './ui.js'

/** @param {{ id: string }} props */
export function DecisionPane({ id }) {
  const { data: record, error } = useRead(() => get(`/decisions/${encodeURIComponent(id)}`), id)
  return html`<article class="action">
    <a class="back" href="#/decisions">← Decisions</a>
    <${Failed} error=${error} />
    ${record === undefined ? null : html`<${Record} record=${record} />`}
    <${Explanation} id=${id} />
  </article>`
}

/** @param {{ record: any }} props */
function Record({ record }) {
  const { decision, what, who, agent, why, outcome, time, lease_id: lease } = record
  return html`<header class="head">
      <p class="over">Decision, ${time}</p>
      <h1><span class="method">${what?.method}</span> <${Words} text=${what?.path} names /></h1>
      <p class="chips"><${Level} word=${decision?.effect} /><${Level} word=${what?.risk} of=" risk" /><${Level} word=${what?.sensitivity} /></p>
    </header>
    <section><h2>What was decided</h2><${Facts} rows=${[
      [
        'Effect',
        html`<strong>${decision?.effect}</strong> ${decision?.code === null ? null : html`<code>${decision?.code}</code>`}`,
      ],
      ['Reasons', html`<${Words} text=${(decision?.reasons ?? []).join('; ')} />`],
      ['Cause', html`<${Words} text=${decision?.cause} />`],
      ['Who', html`<${Words} text=${who?.user} names />`],
      ['Agent', html`<${Words} text=${agent?.id} names /> <${Words} text=${agent?.version} names />`],
      ['Task', html`<${Words} text=${why?.system} names /> <${Words} text=${why?.id} names />`],
      ['Resource', html`<strong>${what?.verb}</strong> <${Words} text=${what?.resource} names />`],
      [
        'Outcome',
        html`<span class="figures">${outcome?.status ?? 'no answer'}, ${outcome?.ended}, ${outcome?.duration_ms} ms</span>`,
      ],
      [
        'Lease',
        lease === null || lease === undefined
          ? '–'
          : html`<a href=${`#/leases/${encodeURIComponent(lease)}`}><${Id} text=${lease} /></a>`,
      ],
    ]} /></section>
    <details class="small"><summary>The whole record</summary><${Data} value=${record} /></details>`
}

/** Asked for: it asks the policy again. @param {{ id: string }} props */
function Explanation({ id }) {
  const [state, setState] = useState(/** @type {{ data?: any, error?: Error }} */ ({}))
  const load = () =>
    get(`/decisions/${encodeURIComponent(id)}/explanation`).then(
      (data) => setState({ data }),
      (error) => setState({ error }),
    )
  return html`<section><h2>Why</h2>
    ${state.data === undefined ? html`<p>Asks the policy again, and what would have made it a yes. <button type="button" onClick=${load}>Explain</button></p>` : html`<${Explained} said=${state.data} /><details class="small"><summary>The whole explanation</summary><${Data} value=${state.data} /></details>`}
    <${Failed} error=${state.error} /></section>`
}

/** @param {{ value: unknown }} props */
function Data({ value }) {
  return html`<${Body} bytes=${new TextEncoder().encode(JSON.stringify(value))} type="application/json" />`
}
