// One action, open: who asks, what exactly, what it changes, who has decided. In: its id. Out: the pane. What was
// read stays on the screen when the agent replaces it, and cannot be approved any more.
import { html } from 'htm/preact'
import { useEffect, useState } from 'preact/hooks'
import { get } from './api.js'
import { Before } from './before.js'
import { Body, Exact } from './call.js'
import { Confirm } from './confirm.js'
import { useKeys } from './keys.js'
import { goSignIn } from './sign_in.js'
import { Announced, Countdown, Facts, Failed, Id, Level, useNow, useRead, When, Words } from './ui.js'

/** @typedef {import('./shapes.js').ActionView} ActionView */
/** @typedef {'approve' | 'refuse' | 'withdraw'} Verb */

/** Decided and not over: what becomes of these the line does not tell. */
const underWay = ['approved', 'executing']
const rereadMs = 2_000

/** @param {{ id: string, me: import('./shapes.js').Me, live: import('./live.js').Live, onDecided: () => void }} props */
export function ActionPane({ id, me, live, onDecided }) {
  const { data, error, again } = useRead(() => get(`/actions/${encodeURIComponent(id)}`), id)
  const [read, setRead] = useState(/** @type {ActionView | undefined} */ (undefined))
  // The line names what waits: one that it no longer names has been decided.
  useEffect(() => live.listen({ actions: again, up: again }), [again])
  useEffect(() => {
    if (!underWay.includes(data?.state ?? '')) return undefined
    const timer = setInterval(() => (document.hidden ? undefined : again()), rereadMs)
    return () => clearInterval(timer)
  }, [again, data?.state])
  useEffect(() => {
    if (data !== undefined)
      setRead((old) => (old === undefined || old.fingerprint === data.fingerprint ? data : old))
  }, [data])
  if (read === undefined) return html`<${Back} /><${Failed} error=${error} />`
  const isOther = data !== undefined && data.fingerprint !== read.fingerprint
  const call = read.call ?? undefined
  const isLost = call === undefined && read.kind !== 'lease'
  const done = () => {
    again()
    onDecided()
  }
  return html`<article class="action" aria-label="The action">
    <${Back} />
    <${Head} action=${read} />
    ${isOther ? html`<${Changed} onShow=${() => setRead(data)} />` : null}
    <${Failed} error=${error} />
    <${Asker} action=${read} />
    <${Meaning} action=${read} />
    ${read.kind === 'lease' ? html`<${Wanted} action=${read} />` : null}
    ${isLost ? html`<p class="banner bad" role="alert">The bytes of this call cannot be read any more. What nobody can read, nobody can approve.</p>` : null}
    ${call === undefined ? null : html`<${Exact} call=${call} what=${read.what} />`}
    ${call === undefined ? null : html`<${Before} key=${read.fingerprint} action=${read} call=${call} />`}
    <${History} action=${read} />
    <${Decide} action=${read} me=${me} stale=${isOther || isLost} onDone=${done} />
  </article>`
}

function Back() {
  return html`<a class="back" href="#/inbox">← Inbox</a>`
}

/** @param {{ action: ActionView }} props */
function Head({ action }) {
  const { kind, what, lease, state, created_at: from, expires_at: to } = action
  const waits = state === 'pending'
  return html`<header class="head">
    <p class="over">${headWords[kind]}</p>
    <h1>${
      kind === 'lease'
        ? html`A lease for <${Words} text=${lease.agent?.id} names />`
        : html`<span class="method">${what.method}</span> <${Words} text=${what.path} names />`
    }</h1>
    <p class="chips">
      <${Level} word=${waits ? undefined : state} />
      <${Level} word=${what.risk} of=" risk" />
      <${Level} word=${what.sensitivity} />
      ${waits ? html`<${Countdown} from=${from} to=${to} label="time left to decide" />` : null}
    </p>
    ${waits ? html`<${Announced} to=${to} />` : null}
  </header>`
}

/** @type {Readonly<Record<string, string>>} */
const headWords = {
  hold: 'A call waits for a yes',
  draft: 'A draft waits to be released',
  lease: 'An agent asks for a lease',
}

/** @param {{ onShow: () => void }} props */
function Changed({ onShow }) {
  return html`<div class="banner bad loud" role="alert">
    <p><strong>This is not what would run any more.</strong> The agent has replaced it since you opened it. You can
    decide once you have read the new one.</p>
    <button type="button" onClick=${onShow}>Show the new one</button>
  </div>`
}

/** @param {{ action: ActionView }} props */
function Asker({ action: { lease } }) {
  const { agent, task } = lease
  return html`<section>
    <h2>Who asks, and why</h2>
    <${Facts} rows=${[
      ['On behalf of', html`<${Words} text=${lease.user} names />`],
      [
        'Agent',
        html`<${Words} text=${agent?.id} names /> <${Words} text=${agent?.version} names />${(agent?.env ?? undefined) === undefined ? null : html` in <${Words} text=${agent?.env} names />`}`,
      ],
      ['Task', html`<${Words} text=${task?.system} names /> <${Words} text=${task?.id} names />`],
      [
        'Lease',
        lease.id === undefined || lease.id === null
          ? 'not yet'
          : html`<a href=${`#/leases/${encodeURIComponent(lease.id)}`}><${Id} text=${lease.id} /></a>`,
      ],
    ]} />
    <figure class="claim">
      <figcaption>The agent’s own words. Nobody has checked them.</figcaption>
      <blockquote><${Words} text=${task?.purpose} lines /></blockquote>
    </figure>
  </section>`
}

/** @param {{ action: ActionView }} props */
function Meaning({ action: { what, said, terms, yes } }) {
  const needed = `${yes.length} of ${terms.quorum}`
  return html`<section>
    <h2>What it means</h2>
    <${Facts} rows=${[
      ['It would', html`<strong>${what.verb}</strong> <${Words} text=${what.resource} names />`],
      ['At', html`<${Words} text=${what.backend} names />, <${Words} text=${what.operation} names />`],
      ['Policy says', html`<${Words} text=${(said?.reasons ?? []).join('; ')} />`],
      ['Who may say yes', html`<${Words} text=${terms.approvers.join(', ')} names />`],
      ['Yes so far', html`<span class="figures">${needed}</span>`],
    ]} />
  </section>`
}

/** What a lease would allow. @param {{ action: ActionView }} props */
function Wanted({ action: { request } }) {
  const bytes = new TextEncoder().encode(JSON.stringify(request ?? {}))
  return html`<section><h2>What is asked for</h2><${Body} bytes=${bytes} /></section>`
}

/** @param {{ action: ActionView }} props */
function History({
  action: { yes, ended, outcome, fingerprint, created_at: at, decision_id: decision, what },
}) {
  return html`<section>
    <h2>What has happened</h2>
    <ol class="history">
      <li>Asked <${When} at=${at} /></li>
      ${yes.map((each) => html`<li key=${each.user}><strong>Yes</strong> from <${Words} text=${each.user} names /> (${each.shown_by ?? 'by a program or a person'}) <${When} at=${each.at} />${each.reason === '' ? null : html`: <${Words} text=${each.reason} />`}</li>`)}
      ${ended === undefined ? null : html`<li><strong>Ended</strong> by <${Words} text=${ended.by} names /> <${When} at=${ended.at} />: <${Words} text=${ended.reason} /></li>`}
      ${outcome === undefined ? null : html`<li><strong>Executed</strong> <${When} at=${outcome.at} />: ${outcome.status ?? outcome.code ?? 'no answer came'}, ${outcome.bytes} bytes. <a href=${`#/decisions/${encodeURIComponent(outcome.decision_id)}`}>Its record</a></li>`}
    </ol>
    <details class="small"><summary>Fingerprint and digests</summary>
      <${Facts} rows=${[
        ['Fingerprint', html`<${Id} text=${fingerprint} />`],
        ['Body digest', html`<${Words} text=${what.body_digest} names />`],
        [
          'Decision',
          decision === undefined || decision === null
            ? '–'
            : html`<a href=${`#/decisions/${encodeURIComponent(decision)}`}><${Id} text=${decision} /></a>`,
        ],
      ]} />
    </details>
  </section>`
}

/** The buttons, always in reach. @param {{ action: ActionView, me: import('./shapes.js').Me, stale: boolean, onDone: () => void }} props */
function Decide({ action, me, stale, onDone }) {
  const [verb, setVerb] = useState(/** @type {Verb | undefined} */ (undefined))
  const now = useNow()
  const { state, you, expires_at: expiresAt, yes } = action
  const pending = state === 'pending' && now < expiresAt
  const canDecide = pending && you.may && !stale
  const mine = yes.some(({ user }) => user === me.user)
  const canWithdraw = !stale && mine && now < expiresAt && (state === 'pending' || state === 'approved')
  useKeys({
    a: () => (canDecide && !you.step_up ? setVerb('approve') : undefined),
    r: () => (canDecide ? setVerb('refuse') : undefined),
  })
  return html`<footer class="decide">
    ${pending && !you.may ? html`<p class="why"><${Words} text=${`You cannot decide this: ${whyNot[you.why_not ?? 'not_named'] ?? you.why_not}`} /></p>` : null}
    ${state === 'pending' && !pending ? html`<p class="why">Time is over: it counts as refused.</p>` : null}
    ${pending && you.may && you.step_up ? html`<button type="button" class="main" onClick=${() => goSignIn({ stepUp: true })}>Show again who you are</button>` : null}
    ${pending && you.may && !you.step_up ? html`<button type="button" class="main" disabled=${stale} onClick=${() => setVerb('approve')}>${approveWord(action)} <kbd>a</kbd></button>` : null}
    ${pending && you.may ? html`<button type="button" disabled=${stale} onClick=${() => setVerb('refuse')}>Refuse <kbd>r</kbd></button>` : null}
    ${canWithdraw ? html`<button type="button" onClick=${() => setVerb('withdraw')}>Withdraw the yes</button>` : null}
    ${verb === undefined ? null : html`<${Confirm} verb=${verb} action=${action} me=${me} onClose=${() => setVerb(undefined)} onDone=${onDone} />`}
  </footer>`
}

/** @type {Readonly<Record<string, string>>} */
const whyNot = {
  not_named: 'policy does not name you for it',
  requester: 'it is asked for in your own name',
  delegate: 'the lease was handed on by you',
  already: 'you have said yes; somebody else has to as well',
  role: 'that takes the role of an approver',
}

/** @param {ActionView} action */
export function approveWord({ kind, terms, yes }) {
  const last = yes.length + 1 >= terms.quorum
  return kind === 'draft' && last ? 'Release' : 'Approve'
}
