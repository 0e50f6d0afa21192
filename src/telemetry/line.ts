// In: what is known about one request when it ends. Out: one line for a person at a terminal.
// Never: a character that could move the cursor, reverse the text, or pass for another part of the line; a
// token, a query or a URL's password (shown.ts).
import type { Effect } from '../ports.ts'
import type { AuditFacts } from './audit.ts'
import { pathOf, withoutTokens } from './shown.ts'

const colours: Readonly<Record<Effect, number>> = { allow: 32, draft: 36, hold: 33, deny: 31 }

/**
 * `2026-03-14 14:32:01 user:alice@example.com via agent:support-triage task:SUP-4711 READ crm:customer/9821 → allow 200 12ms`,
 * in UTC. A refusal shows its code after the effect, a call that people let through who they were at the end. `colour` adds ANSI colour to the effect.
 */
export function requestLine(facts: AuditFacts, options: { readonly colour: boolean }): string {
  const time = new Date(facts.timeMs).toISOString().replace('T', ' ').slice(0, 19)
  const effect = options.colour ? `\u001b[${colours[facts.effect]}m${facts.effect}\u001b[0m` : facts.effect
  const outcome = [effect, facts.code, facts.status ?? '-', `${Math.round(facts.durationMs)}ms`, yes(facts)]
  return `${time} ${caller(facts)} ${action(facts)} → ${outcome.filter((part) => part !== undefined).join(' ')}`
}

function yes({ approval }: AuditFacts): string | undefined {
  const people = approval?.approved_by ?? []
  return people.length === 0 ? undefined : `approved by ${people.map(visible).join(', ')}`
}

function caller({ lease }: AuditFacts): string {
  if (lease === undefined) return 'nobody'
  const { user, agent, task } = lease
  const via = agent.id === user ? '' : ` via ${prefixed('agent', agent.id)}`
  return `${prefixed('user', user)}${via} task:${visible(task.id)}`
}

/** A workflow's `sub` and an agent's id name their kind already. */
function prefixed(kind: string, id: string): string {
  return id.startsWith('workflow:') || id.startsWith(`${kind}:`) ? visible(id) : `${kind}:${visible(id)}`
}

function action({ operation, resource, method, target }: AuditFacts): string {
  if (operation !== undefined && resource !== undefined) {
    return `${visible(operation.verb.toUpperCase())} ${visible(withoutTokens(resource))}`
  }
  return `${visible(method)} ${visible(pathOf(target) ?? '-')}`
}

/** Control, format (bidi among them), space, unassigned and private characters, the backslash and our arrow. */
const invisible = /[\p{C}\p{Z}\\→]/gu

/** `text` with everything a terminal would act on, or that is not seen, written as `\u{…}`. */
export function visible(text: string): string {
  return text.replace(invisible, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
}
