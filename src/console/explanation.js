// How policy came to a decision, in words: what it says now, what failed and on which values, what would have made it a
// yes. In: the document of `GET /decisions/{id}/explanation`. Out: elements.
import { html } from 'htm/preact'
import { Words } from './ui.js'

/**
 * @typedef {{ name: string, value: unknown, defined: boolean, shown: boolean }} Read
 * @typedef {{ text: string, outcome: string, reads: Read[], failures: Read[][] }} Condition
 * @typedef {{ rule: string, title: string, file: string, line: number, holds: boolean, conditions: Condition[] }} Rule
 * @typedef {{ effect?: string, reasons?: string[], digest?: string, built_in?: { holds: boolean, code?: string }, rules?: Rule[] | null, hidden?: { name: string }[], search?: { changes: { text: string }[][], complete: boolean } | null }} Told
 * @typedef {{ recorded: { effect: string, code: string | null, cause: string | null } | null, notes: string[], explanations: Told[] }} ExplanationDocument
 */

/** @param {{ said: ExplanationDocument }} props */
export function Explained({ said }) {
  const { recorded, notes, explanations } = said
  return html`<div class="explained">
    ${explanations.length > 0 || recorded === null ? null : html`<p>No policy was asked again: <${Words} text=${recorded.cause ?? recorded.code ?? recorded.effect} />.</p>`}
    ${notes.map((note) => html`<p key=${note}><${Words} text=${note} /></p>`)}
    ${explanations.map((each, at) => html`<${One} key=${at} told=${each} recorded=${recorded} />`)}
  </div>`
}

/** @param {{ told: Told, recorded: ExplanationDocument['recorded'] }} props */
function One({ told, recorded }) {
  if (told.hidden !== undefined) {
    const names = told.hidden.map(({ name }) => name).join(', ')
    return html`<p>Policy looked at what the record leaves out (<${Words} text=${names} names />), so that it cannot be asked again.</p>`
  }
  const { effect, reasons = [], built_in: builtIn, rules, search } = told
  const isOther = recorded !== null && recorded.effect !== effect
  return html`<p>Policy says <strong>${effect}</strong>${reasons.length === 0 ? '.' : html`: <${Words} text=${reasons.join(', ')} />.`}
      ${isOther ? html` The record says <strong>${recorded.effect}</strong>: policy, or what it was asked, has changed since.` : null}</p>
    ${builtIn === undefined || builtIn.holds ? null : html`<p>The lease itself does not cover the call: <code>${builtIn.code}</code>.</p>`}
    <${Failures} rules=${rules ?? []} />
    <${Changes} search=${search} />`
}

/** @param {{ rules: Rule[] }} props */
function Failures({ rules }) {
  const failed = rules.flatMap((rule) => {
    const conditions = rule.conditions.filter(({ outcome }) => outcome === 'false')
    return rule.holds || conditions.length === 0 ? [] : [{ ...rule, conditions }]
  })
  if (failed.length === 0) return null
  return html`<h3>What did not hold</h3>
    <ul class="failures">${failed.map(
      (rule, at) => html`<li key=${at}>
        <span>${rule.title === '' ? rule.rule.replace(/^data\.leasegate\.\w+\./, '') : rule.title}</span> <span class="nothing">${rule.file}:${rule.line}</span>
        ${rule.conditions.map((each, index) => html`<${Failure} key=${index} condition=${each} />`)}
      </li>`,
    )}</ul>`
}

/** @param {{ condition: Condition }} props */
function Failure({ condition: { text, reads, failures } }) {
  const looked = failures.length > 0 ? failures.flat() : reads
  const values = [...new Map(looked.map((read) => [`${read.name}=${shownValue(read)}`, read])).values()]
  return html`<div class="failure"><code><${Words} text=${text} /></code>
    ${values.map((read, at) => html`<div key=${at} class="read"><${Words} text=${read.name} names /> is <strong><${Words} text=${shownValue(read)} /></strong></div>`)}
  </div>`
}

/** @param {Read} read */
function shownValue({ value, defined, shown }) {
  if (!defined) return 'not there'
  return shown ? JSON.stringify(value) : 'too long to show'
}

/** @param {{ search: Told['search'] }} props */
function Changes({ search }) {
  if (search === undefined || search === null) return null
  if (search.changes.length === 0) {
    return html`<p>${search.complete ? 'No small change would make it a yes.' : 'No change that would make it a yes was found in time.'}</p>`
  }
  return html`<h3>The smallest change that would make it a yes</h3>
    <ul class="changes">${search.changes.map((change, at) => html`<li key=${at}><${Words} text=${change.map(({ text }) => text).join(', and ')} /></li>`)}</ul>`
}
