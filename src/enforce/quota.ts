// What a caller is told about its limits. In: limits and what the store said is left. Out: the values of `RateLimit`
// and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10). Pure; never tells one caller about another.

import type { Limit, Remaining } from '../ports.ts'
import type { LimitName, NamedLimit } from './limits.ts'

/** Values of the two fields, as structured-field lists (RFC 9651 §3.1). */
export interface Quota {
  /** `"calls";q=20, "lease";q=600;w=60` */
  readonly policy: string
  /** `"calls";r=3;t=120, "lease";r=599;t=1` */
  readonly state: string
}

/** Limits whose state tells nobody about other leases. */
const own: ReadonlySet<LimitName> = new Set(['calls', 'amount', 'bytes', 'max_rate', 'lease'])

/** What is counted, where it is not requests. */
const units: Partial<Readonly<Record<LimitName, string>>> = { amount: 'millionths', bytes: 'content-bytes' }

/** The largest integer of a structured field (RFC 9651 §3.3.1). */
const largest = 999_999_999_999_999n

/**
 * The fields of an answer; undefined where no limit may be shown. `endsIn`: seconds until the lease is over and its
 * totals with it. `refused`: a limit that is shown in any case, with nothing left, because it is why the answer is no.
 */
export function quotaOf(
  named: readonly NamedLimit[],
  remaining: readonly Remaining[],
  endsIn: number,
  refused?: NamedLimit,
): Quota | undefined {
  const policies: string[] = []
  const states: string[] = []
  for (const [at, each] of named.entries()) {
    const rest = remaining[at]
    if (rest === undefined || (each !== refused && !own.has(each.name))) continue
    const left = each === refused && each.limit.kind === 'rate' ? 0n : rest.left
    const seconds = rest.resetMs === undefined ? endsIn : Math.ceil(rest.resetMs / 1000)
    policies.push(`"${each.name}";q=${integer(sizeOf(each.limit))}${policyParameters(each)}`)
    states.push(`"${each.name}";r=${integer(left)};t=${seconds}`)
  }
  return policies.length === 0 ? undefined : { policy: policies.join(', '), state: states.join(', ') }
}

function sizeOf(limit: Limit): bigint {
  return limit.kind === 'total' ? limit.max : BigInt(limit.count)
}

function policyParameters({ name, limit }: NamedLimit): string {
  const unit = units[name]
  if (limit.kind === 'rate') return `;w=${limit.periodMs / 1000}`
  return unit === undefined ? '' : `;qu="${unit}"`
}

function integer(value: bigint): bigint {
  return value > largest ? largest : value
}
