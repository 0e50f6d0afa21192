// The second step of every decision: the exact action in words, a reason, perhaps a bounded repeat, perhaps a
// passkey. In: an action as it was read. Out: one call that names the fingerprint that was read, or nothing.
import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { approveWord } from './action.js'
import { post } from './api.js'
import { assertionFor } from './passkey.js'
import { Dialog, Failed, Words } from './ui.js'

/** @typedef {import('./shapes.js').ActionView} ActionView */

/** @param {{ verb: import('./action.js').Verb, action: ActionView, me: import('./shapes.js').Me, onClose: () => void, onDone: () => void }} props */
export function Confirm({ verb, action, me, onClose, onDone }) {
  const [reason, setReason] = useState('')
  const [repeat, setRepeat] = useState(
    /** @type {{ calls: number, seconds: number } | undefined} */ (undefined),
  )
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(/** @type {Error | undefined} */ (undefined))
  const needsReason = verb === 'refuse' || (verb === 'approve' && action.you.reason_required)
  const first = useFirstFocus()
  const send = async () => {
    if (busy) return
    setBusy(true)
    setError(undefined)
    try {
      await decide({ verb, action, reason: reason.trim(), repeat })
      onDone()
      onClose()
    } catch (problem) {
      setError(/** @type {Error} */ (problem))
      setBusy(false)
    }
  }
  const lacksPasskey = verb === 'approve' && action.you.passkey && !me.has_passkey
  return html`<${Dialog} title=${titles[verb](action)} onClose=${onClose}>
    <form onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault()
      send()
    }}>
      <p class="sentence">${sentence(verb, action)}</p>
      ${
        verb === 'withdraw'
          ? null
          : html`<label>Reason ${needsReason ? '' : '(you may leave it out)'}
        <textarea rows="2" maxlength="500" required=${needsReason} ref=${needsReason ? first : null} value=${reason}
          onInput=${(/** @type {any} */ event) => setReason(event.currentTarget.value)}></textarea>
      </label>`
      }
      ${verb === 'refuse' ? html`<p class="small">The agent gets to read it.</p>` : null}
      ${verb === 'approve' && action.terms.repeat ? html`<${Repeat} widest=${action.terms.repeat} action=${action} value=${repeat} onChange=${setRepeat} />` : null}
      ${lacksPasskey ? html`<p class="banner wary">Policy asks for a passkey, and you have none yet: <a href="#/you">add one</a>.</p>` : null}
      <${Failed} error=${error} />
      <div class="buttons">
        <button type="submit" class=${verb === 'approve' ? 'main' : 'main danger'} disabled=${busy || lacksPasskey}
          ref=${needsReason ? null : first}>${busy ? 'Sending …' : buttons[verb](action)}</button>
        <button type="button" onClick=${onClose}>Go back</button>
      </div>
    </form>
  <//>`
}

/** @type {Record<import('./action.js').Verb, (action: ActionView) => string>} */
const titles = {
  approve: (action) => `${approveWord(action)} exactly this?`,
  refuse: () => 'Refuse this?',
  withdraw: () => 'Withdraw the yes?',
}

/** @type {Record<import('./action.js').Verb, (action: ActionView) => string>} */
const buttons = {
  approve: (action) => `${approveWord(action)} it`,
  refuse: () => 'Refuse it',
  withdraw: () => 'Withdraw it',
}

/** The action in one sentence. @param {import('./action.js').Verb} verb @param {ActionView} action */
function sentence(verb, { kind, what, lease, call }) {
  const who = html`<${Words} text=${lease.agent?.id} names /> <${Words} text=${lease.agent?.version} names />, for <${Words} text=${lease.user} names />,`
  const whether = verb === 'approve' ? 'may' : verb === 'refuse' ? 'must not' : 'may no longer'
  if (kind === 'lease') return html`${who} ${whether} have this lease.`
  const once = verb === 'approve' ? (kind === 'draft' ? ', once, now, byte for byte' : ', once') : ''
  return html`${who} ${whether} <strong>${what.verb}</strong> <strong><${Words} text=${what.resource} names /></strong>:${' '}
    <code>${what.method} <${Words} text=${call?.target ?? what.path} names /></code>${once}${what.body_bytes ? html` (body of ${what.body_bytes} bytes)` : null}.`
}

/** Puts the focus where the next step is, once the dialog is open. */
function useFirstFocus() {
  const ref = useRef(/** @type {HTMLElement | null} */ (null))
  useEffect(() => ref.current?.focus(), [])
  return ref
}

/** @param {{ widest: { calls: number, seconds: number }, action: ActionView, value: { calls: number, seconds: number } | undefined,
 *   onChange: (value: { calls: number, seconds: number } | undefined) => void }} props */
function Repeat({ widest, action, value, onChange }) {
  const minutes = Math.max(1, Math.floor(widest.seconds / 60))
  const whole = (/** @type {any} */ event, /** @type {number} */ max) =>
    Math.min(max, Math.max(1, Math.floor(Number(event.currentTarget.value)) || 1))
  return html`<fieldset class="repeat">
    <label class="check"><input type="checkbox" checked=${value !== undefined}
      onChange=${() => onChange(value === undefined ? { calls: Math.min(5, widest.calls), seconds: Math.min(600, widest.seconds) } : undefined)} />
      Let the next ones like it through: <strong>${action.what.verb}</strong> <${Words} text=${action.what.resource} names />, this lease</label>
    ${
      value === undefined
        ? null
        : html`<div class="bounds">
            <label>Calls, at most ${widest.calls}<input type="number" min="1" max=${widest.calls} value=${value.calls}
              onChange=${(/** @type {any} */ event) => onChange({ ...value, calls: whole(event, widest.calls) })} /></label>
            <label>Minutes, at most ${minutes}<input type="number" min="1" max=${minutes} value=${Math.max(1, Math.round(value.seconds / 60))}
              onChange=${(/** @type {any} */ event) => onChange({ ...value, seconds: Math.min(widest.seconds, whole(event, minutes) * 60) })} /></label>
          </div>
          <p class="small">Whatever their queries, fields and bodies say. You can revoke it under Leases at any time.</p>`
    }
  </fieldset>`
}

/** @param {{ verb: import('./action.js').Verb, action: ActionView, reason: string, repeat: { calls: number, seconds: number } | undefined }} decision */
async function decide({ verb, action, reason, repeat }) {
  const { id, fingerprint, you } = action
  const path = `/actions/${encodeURIComponent(id)}`
  if (verb === 'withdraw') return post(`${path}/withdraw`, { fingerprint })
  const given = { fingerprint, ...(reason !== '' && { reason }) }
  if (verb !== 'approve') return post(`${path}/${verb}`, given)
  const assertion = you.passkey
    ? await assertionFor(await post(`${path}/challenge`, { fingerprint }))
    : undefined
  return post(`${path}/approve`, {
    ...given,
    ...(repeat !== undefined && { repeat }),
    ...(assertion !== undefined && { assertion }),
  })
}
