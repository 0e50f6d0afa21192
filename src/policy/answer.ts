// What every answer of a policy has in common: lists of words, an approval, or something thrown instead. Pure;
// repairs nothing.
import { readTerms, type Terms } from '../approval/terms.ts'

/** The fault of a policy that has no answer to an input. */
export const undefinedDecision = 'the decision is undefined'

/** The terms of an approval that somebody can give, or what is wrong with it. */
export function readApproval(value: unknown): Terms | string {
  const terms = readTerms(value)
  if (terms === undefined) return 'the approval is not { approvers, expires_in, … } as docs/policy.md has it'
  return terms.approvers.length === 0 ? 'the approval names nobody' : terms
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

export function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

/** A whole number, at least one. */
export function isPositive(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0
}

/** One short line about a thrown value. */
export function describe(thrown: unknown): string {
  const message = isRecord(thrown) ? thrown.message : thrown
  return (typeof message === 'string' ? message : 'unknown failure').split('\n', 1)[0]!.slice(0, 200)
}
