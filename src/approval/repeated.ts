// Bounded repeats as the gate sees them: approvals of calls that are alike. In: a call that policy holds. Out: the
// approval that covers it, and each of its uses. Decides nothing.
import type { Evidence } from '../enforce/stages.ts'
import type { Approval, Approvals, Records } from '../ports.ts'
import { findRepeat, useRepeat } from './repeats.ts'
import { areEnough } from './rules.ts'
import type { Terms } from './terms.ts'

/** Where a gate looks, and what it uses. */
export interface RepeatApprovals {
  /** Undefined: a human has to decide. One whose people would not do today is none. */
  find(
    evidence: Pick<Evidence, 'lease' | 'backend' | 'mapped' | 'now'>,
    terms: Pick<Terms, 'approvers' | 'quorum'>,
  ): Promise<Approval | undefined>
  /** Uses one call of it, whoever has used others since it was looked at. */
  readonly use: Approvals['use']
}

/** Over the records of a store. */
export function repeatApprovals(records: Records): RepeatApprovals {
  return {
    async find({ lease, backend, mapped, now }, terms) {
      const { resource, operation } = mapped
      const { match, verb } = operation
      const names = { issuer: lease.issuer, lease: lease.id, backend: backend.name, operation: match }
      const found = await findRepeat(records, { ...names, verb, resource }, now)
      if (found === undefined) return undefined
      const { id, by } = found.repeat
      if (!areEnough(by, terms)) return undefined
      return { id, kind: 'repeat', approvedBy: by.map((each) => each.by.user), version: found.version }
    },
    use: async ({ id }, now, givenUp) => (await useRepeat(records, id, now, givenUp)) !== undefined,
  }
}
