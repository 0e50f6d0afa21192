// Agents: which there are, what each may reach, what its live leases could do together. In: the registry as the
// server tells it. Out: one card each. Changes nothing.
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { get } from './api.js'
import { Empty, Facts, Failed, Level, useRead, Words } from './ui.js'

export function Agents() {
  const { data, error } = useRead(() => get('/agents'), 'agents')
  const [filter, setFilter] = useState('')
  const agents = (data?.agents ?? []).filter((/** @type {any} */ { agent, profile, env }) =>
    `${agent} ${profile} ${env}`.toLowerCase().includes(filter.toLowerCase()),
  )
  return html`<div class="page">
    <h1>Agents</h1>
    <div class="tools"><input type="search" placeholder="Agent, profile, environment" aria-label="Search agents" value=${filter} onInput=${(/** @type {any} */ event) => setFilter(event.currentTarget.value)} /></div>
    <${Failed} error=${error} />
    ${data !== undefined && agents.length === 0 ? html`<${Empty} title="No agents">Register one under <code>broker.agents</code> in the configuration.<//>` : null}
    <div class="cards">${agents.map((/** @type {any} */ each) => html`<${Card} key=${`${each.agent} ${each.version} ${each.env}`} agent=${each} />`)}</div>
  </div>`
}

/** @param {{ agent: any }} props */
function Card({ agent }) {
  const { live_leases: leases, blast_radius: radius, reach = [] } = agent
  const points = typeof radius === 'number' ? radius : radius?.points
  return html`<article class="card">
    <h2><${Words} text=${agent.agent} names /> <span class="quiet"><${Words} text=${agent.version} names /></span></h2>
    <p class="big figures"><span><strong>${leases ?? 0}</strong> live leases</span><span><strong>${points?.toLocaleString('en') ?? '–'}</strong> blast radius</span></p>
    <${Facts} rows=${[
      ['Environment', html`<${Words} text=${agent.env} names />`],
      ['Profile', html`<${Words} text=${agent.profile} names />`],
      ['Client', html`<${Words} text=${agent.client_id} names />`],
    ]} />
    <details open=${reach.length > 0 && reach.length <= 6}><summary>Operations in reach: ${reach.length}</summary>
      <ul class="plain">${reach.slice(0, 40).map((/** @type {any} */ each, /** @type {number} */ at) => html`<li key=${at}><${Words} text=${typeof each === 'string' ? each : `${each.backend ?? ''} ${each.operation ?? ''} ${each.identifier ?? ''}`} names /> <${Level} word=${each.risk} of=" risk" /><${Level} word=${each.sensitivity} /></li>`)}</ul>
    </details>
  </article>`
}
