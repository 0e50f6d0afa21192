// One lease, open: its six questions, what could still happen, its repeats and actions, and what a person can do
// with it. In: its id. Out: the pane. Every change takes a reason.
import { html } from 'htm/preact'
import { useEffect, useState } from 'preact/hooks'
import { get, post } from './api.js'
import { sizeInWords } from './bytes.js'
import { Countdown, Dialog, Facts, Failed, Id, Level, useRead, When, Words } from './ui.js'

/** @typedef {import('./shapes.js').LeaseView} LeaseView */
/** @typedef {{ path: string, title: string, says: string }} Order */

const rereadMs = 5_000

/** @param {{ id: string, me: import('./shapes.js').Me, live: import('./live.js').Live, onChanged: () => void }} props */
export function LeasePane({ id, me, live, onChanged }) {
  const { data: lease, error, again } = useRead(() => get(`/leases/${encodeURIComponent(id)}`), id)
  const repeats = useRead(() => get(`/repeats?lease=${encodeURIComponent(id)}`), id)
  const actions = useRead(() => get(`/actions?state=all&lease=${encodeURIComponent(id)}&limit=50`), id)
  const [order, setOrder] = useState(/** @type {Order | undefined} */ (undefined))
  const readAll = () => {
    again()
    repeats.again()
    actions.again()
  }
  useEffect(() => {
    const timer = setInterval(() => (document.hidden ? undefined : readAll()), rereadMs)
    const stop = live.listen({ actions: readAll, up: readAll })
    return () => {
      clearInterval(timer)
      stop()
    }
  }, [id])
  const done = () => {
    readAll()
    onChanged()
  }
  return html`<article class="action">
    <a class="back" href="#/leases">← Leases</a>
    <${Failed} error=${error} />
    ${lease === undefined ? null : html`<${Questions} lease=${lease} />`}
    <${Repeats} list=${repeats.data?.repeats ?? []} onRevoke=${setOrder} />
    <${ActionList} list=${actions.data?.actions ?? []} />
    ${lease === undefined ? null : html`<${Orders} lease=${lease} me=${me} onOrder=${setOrder} />`}
    ${order === undefined ? null : html`<${Reason} order=${order} onClose=${() => setOrder(undefined)} onDone=${done} />`}
  </article>`
}

/** @param {{ lease: LeaseView }} props */
function Questions({ lease }) {
  const { id, state, who, agent, what, why, when, what_happened: happened } = lease
  const stopped = lease.revoked ?? lease.suspended
  return html`<header class="head">
      <p class="over">Lease</p>
      <h1><${Words} text=${agent.id} names /> for <${Words} text=${who.user} names /></h1>
      <p class="chips"><${Level} word=${state} /><${Level} word=${what.stage} />${state === 'active' ? html`<${Countdown} from=${when.issued_at} to=${when.ends_at} />` : null}</p>
    </header>
    ${stopped === null ? null : html`<p class="banner wary">${state} by <${Words} text=${stopped.by} names /> <${When} at=${stopped.at} />: <${Words} text=${stopped.reason} /></p>`}
    <section><h2>The six questions</h2>
    <${Facts} rows=${[
      ['Who', html`<${Words} text=${who.user} names />`],
      ['Which agent', html`<${Words} text=${`${agent.id} ${agent.version}, ${agent.env}`} names />`],
      [
        'What',
        html`<ul class="plain">${what.authorization_details.map((detail, at) => html`<li key=${at}><strong><${Words} text=${(detail.actions ?? []).join(', ')} names /></strong> <${Words} text=${detail.identifier} names /> <span class="quiet">up to <${Words} text=${detail.sensitivity} names /></span></li>`)}</ul>`,
      ],
      [
        'Why',
        html`<${Words} text=${`${why.system}:${why.id}`} names /><br /><span class="quiet">in the agent’s words:</span> <${Words} text=${why.purpose} />`,
      ],
      ['When', html`issued <${When} at=${when.issued_at} />, renewals so far: ${when.renewals}`],
      [
        'What happened',
        html`<span class="figures">${happened.calls} ${happened.calls === 1 ? 'call' : 'calls'}, ${happened.refusals} refused, ${sizeInWords(happened.bytes_out)} out</span>, last <${When} at=${happened.last_used_at} />`,
      ],
      ['Lease', html`<${Id} text=${id} />`],
    ]} /></section>
    ${lease.blast_radius === undefined ? null : html`<${Radius} radius=${lease.blast_radius} />`}
    <p><a href=${`#/decisions/lease:${id}`}>Its decisions</a></p>`
}

/** @param {{ radius: NonNullable<LeaseView['blast_radius']> }} props */
function Radius({ radius }) {
  return html`<section><h2>Blast radius</h2>
    <p class="figures"><strong>${radius.points.toLocaleString('en')}</strong> points: at most ${radius.calls.toLocaleString('en')} calls before somebody notices</p>
    <ul class="plain">${radius.reach.slice(0, 8).map(({ operation, identifier, risk, sensitivity }) => html`<li key=${operation + identifier}><${Words} text=${operation} names /> <${Words} text=${identifier} names /> <${Level} word=${risk} of=" risk" /><${Level} word=${sensitivity} /></li>`)}</ul>
    ${radius.reach.length > 8 ? html`<p class="nothing">and ${radius.reach.length - 8} more</p>` : null}
  </section>`
}

/** @param {{ list: any[], onRevoke: (order: Order) => void }} props */
function Repeats({ list, onRevoke }) {
  if (list.length === 0) return null
  return html`<section><h2>Repeats that were granted</h2>
    <ul class="plain">${list.map(
      (each) => html`<li key=${each.id}>
      <strong>${each.verb}</strong> <${Words} text=${each.resource} names />:${' '}
      <span class="figures">${each.calls_left} of ${each.calls}</span> calls left, by <${Words} text=${each.by} names />
      ${each.state === 'active' ? html`<${Countdown} from=${each.at} to=${each.expires_at} />` : html`<${Level} word=${each.state} />`}
      ${each.state === 'active' ? html`<button type="button" onClick=${() => onRevoke({ path: `/repeats/${encodeURIComponent(each.id)}/revoke`, title: 'Revoke the repeat?', says: 'The next call like it waits for a person again.' })}>Revoke</button>` : null}
    </li>`,
    )}</ul></section>`
}

/** @param {{ list: import('./shapes.js').ActionView[] }} props */
function ActionList({ list }) {
  if (list.length === 0) return null
  return html`<section><h2>What it has asked for</h2>
    <ul class="plain">${list.map(({ id, what, state, created_at: at }) => html`<li key=${id}><a href=${`#/inbox/${id}`}><${Words} text=${`${what.method} ${what.path}`} names /></a> <${Level} word=${state} /> <${When} at=${at} /></li>`)}</ul></section>`
}

/** @type {Record<string, { title: string, says: string, word: string }>} */
const orders = {
  revoke: {
    word: 'Revoke',
    title: 'Revoke this lease?',
    says: 'Its next call is refused, for good. Open streams end.',
  },
  suspend: {
    word: 'Suspend',
    title: 'Suspend this lease?',
    says: 'Its calls are refused until somebody resumes it.',
  },
  resume: { word: 'Resume', title: 'Resume this lease?', says: 'Its calls are let through again.' },
  complete: { word: 'Complete', title: 'Complete this lease?', says: 'The task is done: the lease ends.' },
}

/** @param {{ lease: LeaseView, me: import('./shapes.js').Me, onOrder: (order: Order) => void }} props */
function Orders({ lease: { id, state }, me, onOrder }) {
  const may = me.roles.includes('operator') || me.roles.includes('admin')
  const names =
    state === 'active'
      ? ['suspend', 'complete', 'revoke']
      : state === 'suspended'
        ? ['resume', 'complete', 'revoke']
        : []
  if (!may || names.length === 0) return null
  return html`<footer class="decide">${names.map((name) => {
    const { word, title, says } = orders[name] ?? { word: name, title: name, says: '' }
    return html`<button key=${name} type="button" class=${name === 'revoke' ? 'danger' : ''} onClick=${() => onOrder({ path: `/leases/${encodeURIComponent(id)}/${name}`, title, says })}>${word}</button>`
  })}</footer>`
}

/** @param {{ order: Order, onClose: () => void, onDone: () => void }} props */
function Reason({ order, onClose, onDone }) {
  const [reason, setReason] = useState('')
  const [error, setError] = useState(/** @type {Error | undefined} */ (undefined))
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault()
    try {
      await post(order.path, { reason: reason.trim() })
      onDone()
      onClose()
    } catch (problem) {
      setError(/** @type {Error} */ (problem))
    }
  }
  return html`<${Dialog} title=${order.title} onClose=${onClose}>
    <form onSubmit=${send}>
      <p>${order.says}</p>
      <label>Reason<input type="text" required maxlength="200" value=${reason} onInput=${(/** @type {any} */ event) => setReason(event.currentTarget.value)} /></label>
      <${Failed} error=${error} />
      <div class="buttons"><button type="submit" class="main danger">Do it</button><button type="button" onClick=${onClose}>Go back</button></div>
    </form>
  <//>`
}
