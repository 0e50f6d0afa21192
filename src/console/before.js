// Before and after: what the resource is now, read through the gate under the approver's authority, and what the
// write makes of it. In: an action and its call. Out: a table by path. A guess about the backend, and it says so.
import { html } from 'htm/preact'
import { useState } from 'preact/hooks'
import { get } from './api.js'
import { fromBase64, textOf } from './bytes.js'
import { diff } from './diff.js'
import { readJson } from './json.js'
import { Failed, Words } from './ui.js'

/** @typedef {import('./shapes.js').Call} Call */
/** @typedef {{ status: number, body_base64: string }} Found */

/** @param {{ action: import('./shapes.js').ActionView, call: Call }} props */
export function Before({ action, call }) {
  const [before, setBefore] = useState(/** @type {Found | { unavailable: string } | undefined} */ (undefined))
  const [error, setError] = useState(/** @type {Error | undefined} */ (undefined))
  if (call.method === 'GET' || call.method === 'HEAD') return null
  const load = () => get(`/actions/${encodeURIComponent(action.id)}/before`).then(setBefore, setError)
  return html`<section class="before">
    <h2>Before and after</h2>
    ${
      before === undefined
        ? html`<p>Reads what is there now, in your name. <button type="button" onClick=${load}>Compare</button></p>`
        : 'unavailable' in before
          ? html`<p class="nothing">It cannot be shown to you: <${Words} text=${before.unavailable} names />.</p>`
          : html`<${Compared} before=${before} call=${call} />`
    }
    <${Failed} error=${error} />
  </section>`
}

/** @param {{ before: Found, call: Call }} props */
function Compared({ before, call }) {
  const was = treeOf(before.body_base64)
  const is =
    call.method === 'DELETE' && call.body_base64 === ''
      ? { kind: /** @type {const} */ ('object'), members: [] }
      : treeOf(call.body_base64)
  if (before.status !== 200 || was === undefined || is === undefined) {
    return html`<p class="nothing">They cannot be compared: not both are JSON that everybody reads alike (the backend answered ${before.status}).</p>`
  }
  const merge = call.method === 'PATCH'
  const rows = diff(was, is, { merge })
  return html`<p class="small">${merge ? 'Read as a merge patch (RFC 7396): what it does not name stays.' : 'Read as the whole of what will be there.'} How the backend reads it is up to the backend.</p>
    ${
      rows.length === 0
        ? html`<p class="nothing">Nothing would change.</p>`
        : html`<table class="diff"><thead><tr><th scope="col">Where</th><th scope="col">Now</th><th scope="col">Then</th></tr></thead>
            <tbody>${rows.map(lineOf)}</tbody></table>`
    }`
}

/** @param {import('./diff.js').Row} row */
function lineOf({ path, kind, before, after }) {
  return html`<tr key=${path} class=${kind}>
    <th scope="row"><${Words} text=${path === '' ? '(all of it)' : path} names /> <span class="kind">${kind}</span></th>
    <td>${before === undefined ? html`<span class="nothing">not there</span>` : html`<del><${Words} text=${before} indented /></del>`}</td>
    <td>${after === undefined ? html`<span class="nothing">gone</span>` : html`<ins><${Words} text=${after} indented /></ins>`}</td>
  </tr>`
}

/** Undefined: no JSON, or JSON in which a name stands twice. @param {string} base64 */
function treeOf(base64) {
  const text = textOf(fromBase64(base64))
  const json = text === undefined ? undefined : readJson(text)
  return json?.twice.length === 0 ? json.tree : undefined
}
