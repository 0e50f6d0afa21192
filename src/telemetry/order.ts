// In: one order to end, hold or let go leases, and what became of it. Out: what its audit record says. Bounded
// whatever was sent, and never a token: people paste all kinds of things into a reason.
import type { OrderTrail } from '../broker/observer.ts'
import { isObject } from '../lease/text.ts'
import type { Refusal } from '../refusals.ts'
import { withoutTokens } from './shown.ts'

const maxText = 256
const maxMembers = 8

/** The members of the record, but for time and event. */
export function orderFacts(trail: OrderTrail, refusal: Refusal | undefined): object {
  const { lease, body } = trail
  return {
    decision_id: trail.decisionId,
    verb: trail.verb,
    lease_id: lease ?? null,
    asked_by: askedBy(trail),
    asked: body === undefined ? null : shownBody(body),
    decision: {
      effect: refusal === undefined ? 'allow' : 'deny',
      code: refusal?.code ?? null,
      reasons: refusal?.facts.reasons ?? [],
      cause: refusal === undefined ? null : shown(causeOf(refusal)),
    },
    repeated: trail.repeated,
    duration_ms: Math.max(0, Math.round(Date.now() - trail.startedAt)),
    peer: { ip: trail.peer },
  }
}

/** Who proved to be somebody; null: nobody did. */
function askedBy({ operator, person, agent }: OrderTrail): object | null {
  if (operator !== undefined) return { operator }
  if (person !== undefined) return { user: person.user, issuer: person.issuer, subject: person.subject }
  return agent === undefined ? null : { agent }
}

/** The members as they came, however odd; what is no object stands under `body`. */
export function shownBody(body: unknown): object {
  if (!isObject(body)) return { body: shownValue(body) }
  const members = Object.entries(body).slice(0, maxMembers)
  return Object.fromEntries(members.map(([name, value]) => [shown(name), shownValue(value)]))
}

function shownValue(value: unknown): string {
  return shown(typeof value === 'string' ? value : JSON.stringify(value))
}

/** At most 256 characters, without tokens. Control characters are escaped where the record becomes JSON. */
export function shown(text: string): string {
  const clean = withoutTokens(text)
  return clean.length <= maxText ? clean : `${clean.slice(0, maxText - 1)}…`
}

function causeOf({ row, facts: { cause, detail } }: Refusal): string {
  return cause ?? detail ?? row.title
}
