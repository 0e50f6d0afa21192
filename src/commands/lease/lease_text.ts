// A lease as people read it in a terminal. In: what is known of it, the time. Out: labels and values. Pure; passes
// no control character on.
import { type Repeat, repeatState } from '../../approval/repeats.ts'
import type { BlastRadius } from '../../broker/blast_radius.ts'
import type { BudgetRow } from '../../broker/budget_left.ts'
import type { LeaseState } from '../../broker/lease_state.ts'
import type { KnownLease } from '../../broker/lease_view.ts'
import type { LeaseDetail } from '../../lease/allow.ts'
import type { LeaseRecord, LeaseUsage } from '../../ports.ts'
import { shown } from '../policy/excerpt.ts'
import { count, duration, style } from '../terminal.ts'
import { radiusTexts } from './radius_text.ts'

/** Label and value; a value without label goes on with the one before it. */
export type Fact = readonly [label: string, value: string]

/** What was granted: who, agent, what, why, when. */
export function grantFacts(record: LeaseRecord, now: number): Fact[] {
  const left = (until: number) => duration(until - now)
  return [
    ['who', record.user],
    ['agent', `${record.agent} ${record.agentVersion}`],
    ['what', record.details.map(describeDetail).join(' or ')],
    ['why', `${taskOf(record)} ${record.task.purpose}`],
    ['when', `token ${left(record.expiresAt)}, lease ${left(record.maxExpiresAt)}`],
    ['stage', record.stage],
  ]
}

/** Everything: the six questions, where it comes from, and its life as a timeline. */
export function leaseFacts(known: KnownLease, now: number, radius?: BlastRadius): Fact[] {
  const { record, usage, budget = [], repeats, children = [] } = known
  const { login, binding, decision, session, delegatedBy, ancestors } = record
  const loggedIn = login === undefined ? '' : style.dim(`  ${shown(login.subject)} at ${shown(login.issuer)}`)
  const facts: readonly (Fact | undefined)[] = [
    ['who', `${record.user}${loggedIn}`],
    ['agent', agentOf(record)],
    ...several(
      'through',
      delegatedBy.map(({ id, version }) => `${id} ${version}`),
    ),
    ...several('what', record.details.flatMap(describeLimits)),
    ['stage', `${record.stage}  ${style.dim(`for ${record.audience}`)}`],
    ['why', `${style.bold(taskOf(record))}  ${record.task.purpose}`],
    ['session', session],
    binding && ['key', `${binding.method} ${binding.thumbprint}`],
    decision && [
      'granted',
      [decision.reasons.map(shown).join(', '), style.dim(decision.id)].filter(Boolean).join('  '),
    ],
    ...several('from', ancestors),
    ...several('handed on', children),
    ['happened', happened(usage)],
    budget.length > 0 ? ['left', budget.map(leftText).join(', ')] : undefined,
    ...several('repeats', repeats?.granted.map((each) => repeatText(each, now)) ?? []),
    ...(radius === undefined ? [] : several('could', radiusTexts(radius))),
    ...several('when', timeline(known, now)),
  ]
  return facts.filter((fact) => fact !== undefined)
}

function several(label: string, values: readonly string[]): Fact[] {
  return values.map((value, at) => [at === 0 ? label : '', value])
}

function agentOf(record: LeaseRecord): string {
  const profile = `profile ${record.profile} ${record.profileVersion}`.trimEnd()
  return `${record.agent} ${record.agentVersion}  ${style.dim(`${record.agentEnv}, ${profile}`)}`
}

/** The task as revocations name it. */
export function taskOf({ task }: Pick<LeaseRecord, 'task'>): string {
  return `${task.system}:${task.id}`
}

/** The state of a lease, in its colour, with why it is so. */
export function stateText({ state, revocation, suspension }: LeaseState, endsIn: number): string {
  if (revocation !== undefined)
    return style.red(`revoked by ${revocation.scope}: ${shown(revocation.reason)}`)
  if (suspension !== undefined) return style.yellow(`suspended: ${shown(suspension.reason)}`)
  switch (state) {
    case 'active':
      return style.green(`active, ${duration(endsIn)} left`)
    case 'suspended':
      return style.yellow(state)
    case 'revoked':
      return style.red(state)
    default:
      return style.dim(state)
  }
}

/** What a detail grants, and on a line of its own what limits it. */
function describeLimits(detail: unknown): string[] {
  const { actions, identifier, sensitivity, constraints } = detail as LeaseDetail
  const limits = Object.entries(constraints ?? {}).map(([name, value]) => `${name} ${value}`)
  const granted = `${actions.join(',')} ${identifier} up to ${sensitivity}`
  return limits.length === 0 ? [granted] : [granted, `  ${limits.join(', ')}`]
}

function describeDetail(detail: unknown): string {
  return describeLimits(detail)
    .map((line) => line.trim())
    .join(', ')
}

/** `3 calls: 2 read, 1 update; 1 refused; 10 B in, 2.0 KiB out`. */
export function happened(usage: LeaseUsage | undefined): string {
  if (usage === undefined) return style.dim('no calls yet')
  const { calls, verbs, refusals, bytesIn, bytesOut } = usage
  const byVerb = Object.entries(verbs).map(([verb, amount]) => `${amount} ${shown(verb)}`)
  const parts = [
    byVerb.length === 0 ? count(calls, 'call') : `${count(calls, 'call')}: ${byVerb.join(', ')}`,
    ...(refusals === 0 ? [] : [style.red(`${refusals} refused`)]),
    `${bytes(bytesIn)} in, ${bytes(bytesOut)} out`,
  ]
  return parts.join('; ')
}

/** `delete crm:customer/9821: 3 of 5 calls, 9m left, by carol@example.com`. */
function repeatText(repeat: Repeat, now: number): string {
  const { verb, resource, calls, callsLeft, expiresAt, by } = repeat
  const state = repeatState(repeat, now)
  const left = state === 'active' ? `${duration(expiresAt - now)} left` : style.dim(state.replace('_', ' '))
  const people = by.map(({ by: { user } }) => shown(user)).join(', ')
  return `${shown(verb)} ${shown(resource)}: ${callsLeft} of ${count(calls, 'call')}, ${left}, by ${people}`
}

/** `18 of 20 calls`, `240.00 of 250.00`, `1.9 KiB of 2.0 MiB`, `19 calls at once (20/1m)`. */
function leftText({ constraint, max, left }: BudgetRow): string {
  switch (constraint) {
    case 'max_calls':
      return `${left} of ${count(Number(max), 'call')}`
    case 'max_bytes':
      return `${bytes(Number(left))} of ${bytes(Number(max))}`
    case 'max_rate':
      return `${count(Number(left), 'call')} at once (${max})`
    case 'max_amount':
      return `${left} of ${max}`
  }
}

function bytes(amount: number): string {
  if (amount < 1024) return `${amount} B`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(Math.floor(Math.log2(amount) / 10), units.length)
  return `${(amount / 1024 ** power).toFixed(1)} ${units[power - 1]}`
}

/** Its life in order, what is still to come included. */
function timeline({ record, state: { revocation }, usage }: KnownLease, now: number): string[] {
  const { issuedAt, expiresAt, maxExpiresAt, renewals, changed } = record
  const because = (what: string, by: string, reason: string) => `${what} by ${shown(by)}: ${shown(reason)}`
  // A revocation of its own stands in the record as well.
  const killer = record.state === 'revoked' ? undefined : revocation
  const renewed = renewals === 0 ? '' : `, renewed ${count(renewals, 'time')}`
  const events: readonly (readonly [number, string] | undefined)[] = [
    [issuedAt, 'issued'],
    usage && [usage.lastUsedAt, 'last used'],
    changed && [
      changed.at,
      because(record.state === 'active' ? 'resumed' : record.state, changed.by, changed.reason),
    ],
    killer && [killer.at, because(`${killer.scope} revoked`, killer.by, killer.reason)],
    [expiresAt, `token ends${renewed}`],
    [maxExpiresAt, 'lease ends'],
  ]
  return events
    .filter((event) => event !== undefined)
    .toSorted(([a], [b]) => a - b)
    .map(([at, what]) => (at > now ? style.dim(`${time(at)}  ${what}`) : `${time(at)}  ${what}`))
}

function time(seconds: number): string {
  return new Date(Math.floor(seconds) * 1000).toISOString().replace('.000', '')
}
